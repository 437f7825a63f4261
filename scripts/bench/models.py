"""Time each model in the ways it can be trained and by a plain loop, interleaved; print a table.

    python -m scripts.bench.models [model ...] [--device cuda]

The loop is a good one: samples as tensors, torch's fused AdamW, no DataLoader. The same loop on a
CPU in as many processes of one thread as there are cores is the best that we can write. Any model
of yours is timed beside the first by `python -m sweep.check`.
"""

import argparse
from dataclasses import replace

import torch
from torch import nn

from scripts.bench.serial import in_processes
from sweep.check import PLAIN_LOOP, RATES, Loop, measure_speeds, read_config, train_serially
from sweep.command.config import Config
from sweep.engine.objective import with_loss
from sweep.engine.plain import build_model
from sweep.engine.proof import prove_way
from sweep.engine.setting import candidates_of
from sweep.places import CONF
from sweep.workload.data import Data, load_data
from sweep.workload.split import Split

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
        "| model | parameters | plain loop | in processes | one by one | as one program | way "
        "| of the better loop |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    )


def row(name: str, config: Config, data: Data, device: torch.device) -> str:
    config = replace(config, train=with_loss(config.train, data))
    some = candidates_of(config, [{"dropout": rate} for rate in RATES], data)
    way = prove_way(some, config.train, data, device)
    loops = LOOPS if device.type == "cpu" else {PLAIN_LOOP: train_serially}
    seconds, n_steps = measure_speeds(config, data, way, loops), 2560 // 128
    ways = *LOOPS, "one by one", "as one program"
    loop, best, alone, together = (1000 * seconds.get(key, 0) / n_steps for key in ways)
    shown = " | ".join(f"{ms:.1f}" if ms else "-" for ms in (loop, best, alone, together))
    n = sum(p.numel() for p in build_model(some.zero, 0, device, torch.float32).parameters())
    used = (together or alone) / min(loop, best or loop)
    return f"| {name} | {n:,} | {shown} | {way.why or way.kind} | {used:.2f} |"


def train_in_processes(models: list[nn.Module], samples: Split, config: Config) -> None:
    def train(model: nn.Module) -> None:
        torch.set_num_threads(1)
        train_serially([model], samples, config)

    n = torch.get_num_threads()
    in_processes(train, [models[i::n] for i in range(n)])


LOOPS: dict[str, Loop] = {PLAIN_LOOP: train_serially, "in processes": train_in_processes}


if __name__ == "__main__":
    main()
