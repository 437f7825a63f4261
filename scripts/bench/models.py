"""Time each model's population against its own serial loop, interleaved; print a table.

    python -m scripts.bench.models [model ...] [--device cuda]

The loop is a good one (sweep.check.serial): digits as tensors, torch's fused AdamW, no DataLoader.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from sweep.check import seconds, serial
from sweep.config import Config, TrainConfig
from sweep.data import Split, load
from sweep.engine.plain import Setting
from sweep.engine.population import Population
from sweep.model import builder

MODELS: dict[str, Any] = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in Path("conf/model").glob("*.yaml")
}
DIGITS = {"_target_": "sweep.digits.mnist5k", "n_train": 2560, "n_val": 500, "split_seed": 0}
TRIALS, SEEDS, BATCH = 8, 3, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=sorted(MODELS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = torch.device(args.device)
    digits = load(DIGITS).to(device).train
    print(f"{TRIALS} rates x {SEEDS} seeds, batches of {BATCH}, {torch.get_num_threads()} threads")
    print("| model | parameters | serial, ms/step | together, ms/step | speed-up | at once |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in args.models:
        print(row(name, digits, device, args.rounds), flush=True)


def row(name: str, digits: Split, device: torch.device, rounds: int) -> str:
    rates = [0.8 * i / (TRIALS - 1) for i in range(TRIALS)]
    builds = [builder(MODELS[name], rate, (1, 28, 28), 10) for rate in rates]
    settings = [Setting(build, 1e-3, 0.01) for build in builds]
    config = Config(train=TrainConfig(batch_size=BATCH))
    members = Population(settings, range(SEEDS), config.train, device)
    models = [build().to(device) for build in builds for _ in range(SEEDS)]
    works = (lambda: serial(models, digits, config)), (lambda: members.train_epoch(digits, 0))
    times = [[seconds(work, device) for work in works] for _ in range(rounds + 1)][1:]
    a, b = (1000 / 20 * statistics.median(column) for column in zip(*times, strict=True))
    n = sum(p.numel() for p in models[0].parameters())
    return f"| {name} | {n:,} | {a:.1f} | {b:.1f} | {a / b:.2f} | {members.engine.at_once} |"


if __name__ == "__main__":
    main()
