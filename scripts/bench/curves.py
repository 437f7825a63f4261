"""What TensorBoard costs: 64 members of the default model on 5,000 digits, with their curves.

    python -m scripts.bench.curves --epochs 20

Prints the seconds an epoch takes, the part of them spent on writing curves, and the bytes written.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from models.mlp import MLP, MLPConfig
from sweep.config import TrainConfig
from sweep.curves import Curves, Run
from sweep.data import load
from sweep.engine.plain import Setting
from sweep.engine.population import Population
from sweep.job import train_epoch

TRIALS, SEEDS = 32, (0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    digits = {"_target_": "sweep.digits.mnist5k", "n_train": None, "n_val": 500, "split_seed": 0}
    data = load(digits).to(device)
    rates = [0.8 * i / (TRIALS - 1) for i in range(TRIALS)]
    settings = [
        Setting(lambda rate=rate: MLP(MLPConfig(dropout=rate)), 1e-3, 0.01)  # type: ignore[misc]
        for rate in rates
    ]
    population = Population(settings, SEEDS, TrainConfig(), device)
    runs = [Run({"dropout": rate}, trial, 0) for trial, rate in enumerate(rates)]
    training, writing = [], []
    with tempfile.TemporaryDirectory() as folder, Curves(Path(folder), runs) as curves:
        for epoch in range(1, args.epochs + 1):
            begin = time.perf_counter()
            metrics = train_epoch(population, data, epoch)
            middle = time.perf_counter()
            curves.log(epoch, metrics)
            training.append(middle - begin)
            writing.append(time.perf_counter() - middle)
        written = sum(path.stat().st_size for path in Path(folder).rglob("events*"))
    report = {
        "members": TRIALS * len(SEEDS),
        "seconds_an_epoch": sum(training) / args.epochs,
        "seconds_of_curves": sum(writing) / args.epochs,
        "part": sum(writing) / sum(training),
        "bytes": written,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
