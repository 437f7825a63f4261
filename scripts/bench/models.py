"""Time each model in the ways it can be trained and by a plain loop, interleaved; print a table.

    python -m scripts.bench.models [model ...] [--device cuda]

The loop is a good one: samples as tensors, torch's fused AdamW, no DataLoader. Any model of yours
is timed in the same way by `python -m sweep.check`.
"""

import argparse
from dataclasses import replace

import torch

from sweep.check import RATES, measure_speeds, read_config
from sweep.command.config import Config
from sweep.engine.objective import with_loss
from sweep.engine.plain import build_model
from sweep.engine.proof import prove_way
from sweep.engine.setting import candidates_of
from sweep.places import CONF
from sweep.workload.data import Data, load_data

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
DATA = {"gpt": "text"}  # others learn digits
WORK = ["data.n_train=2560", "data.n_val=500", "train.batch_size=128"]
WORK += ["study.generation=8", "study.seeds=3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    print(head(read_config(WORK)))
    for name in args.models:
        config = read_config([f"model={name}", f"data={DATA.get(name, 'mnist5k')}", *WORK])
        print(row(name, config, load_data(config.data).to(device), device), flush=True)


def head(config: Config) -> str:
    members = f"{config.study.generation} rates x {config.study.seeds} seeds"
    return (
        f"{members}, batches of {config.train.batch_size}, {torch.get_num_threads()} threads\n"
        "milliseconds a step of all members\n"
        "| model | parameters | plain loop | one by one | as one program | way | of the loop |\n"
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |"
    )


def row(name: str, config: Config, data: Data, device: torch.device) -> str:
    config = replace(config, train=with_loss(config.train, data))
    some = candidates_of(config, [{"dropout": rate} for rate in RATES], data)
    way = prove_way(some, config.train, data, device)
    seconds, n_steps = measure_speeds(config, data, way), 2560 // 128
    ways = "by a plain loop", "one by one", "as one program"
    loop, alone, together = (1000 * seconds.get(key, 0) / n_steps for key in ways)
    shown = " | ".join(f"{ms:.1f}" if ms else "-" for ms in (loop, alone, together))
    n = sum(p.numel() for p in build_model(some.zero, 0, device, torch.float32).parameters())
    used = (together or alone) / loop
    return f"| {name} | {n:,} | {shown} | {way.why or way.kind} | {used:.2f} |"


if __name__ == "__main__":
    main()
