"""Time each model in the ways it can be trained and by a plain loop, interleaved; print a table.

    python -m scripts.bench.models [model ...] [--device cuda]

The loop is a good one: digits as tensors, torch's fused AdamW, no DataLoader. Any model of yours
is timed in the same way by `python -m sweep.check`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from sweep.check import RATES, measure_speeds
from sweep.command.config import Config, StudyConfig, TrainConfig
from sweep.engine.plain import build_model
from sweep.engine.proof import prove_way
from sweep.engine.setting import candidates_of
from sweep.workload.data import Data, load_data

MODELS: dict[str, Any] = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in sorted(Path("conf/model").glob("*.yaml"))
}
DIGITS = {"_target_": "sweep.workload.digits.mnist5k", "n_train": 2560, "n_val": 500}
TRIALS, SEEDS, BATCH = 8, 3, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    digits = load_data({**DIGITS, "split_seed": 0}).to(torch.device(args.device))
    print(f"{TRIALS} rates x {SEEDS} seeds, batches of {BATCH}, {torch.get_num_threads()} threads")
    print("milliseconds a step of all members")
    print("| model | parameters | plain loop | one by one | as one program | way | of the loop |")
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for name in args.models:
        print(row(name, digits), flush=True)


def row(name: str, digits: Data) -> str:
    train, study = TrainConfig(batch_size=BATCH), StudyConfig(generation=TRIALS, seeds=SEEDS)
    config, device = (
        Config(model=MODELS[name], train=train, study=study),
        digits.train.inputs.device,
    )
    some = candidates_of(config, [{"dropout": rate} for rate in RATES], digits)
    way = prove_way(some, config.train, digits, device)
    seconds, n_steps = measure_speeds(config, digits, way), len(digits.train) // BATCH
    ways = "by a plain loop", "one by one", "as one program"
    loop, alone, together = (1000 * seconds.get(key, 0) / n_steps for key in ways)
    shown = " | ".join(f"{ms:.1f}" if ms else "-" for ms in (loop, alone, together))
    n = sum(p.numel() for p in build_model(some.zero, 0, device, torch.float32).parameters())
    used = (together or alone) / loop
    return f"| {name} | {n:,} | {shown} | {way.why or way.kind} | {used:.2f} |"


if __name__ == "__main__":
    main()
