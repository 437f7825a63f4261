"""What an epoch costs as rates, seeds, width or digits grow: together, and by the serial loop.

    python -m scripts.bench.scale --out docs/scale.png

One of them varies at a time, around 8 rates x 3 seeds of 784-256-256-10 on 2,560 digits.
"""

import argparse
from pathlib import Path

import matplotlib
import torch

from models.mlp import MLP, MLPConfig
from scripts.bench import timing
from scripts.bench.workload import WORKLOADS, digits
from sweep.check import first_samples, train_serially
from sweep.command.config import Config
from sweep.engine.optimizer import AdamWSettings
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.workload.split import Split

matplotlib.use("agg")
from matplotlib import pyplot as plt

USUAL = {"rates": 8, "seeds": 3, "width": 256, "digits": 2560}
SERIES = {
    "rates": [1, 2, 4, 8, 16, 32, 64],
    "seeds": [1, 2, 4, 8, 16],
    "width": [32, 64, 128, 256, 512, 1024],
    "digits": [640, 1280, 2560, 5120, 10240, 20480],
}
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--points", type=int, help="only so many of each series")
    parser.add_argument("--out", type=Path, default=Path("scale.png"))
    args = parser.parse_args()
    config, samples = Config(), digits(WORKLOADS["large"]).to(torch.device(args.device)).train
    config.train.precision = args.precision
    print("| varied | | members | together, s an epoch | serial loop, s an epoch | together |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    figure, panels = plt.subplots(1, len(SERIES), figsize=(13, 3.2), layout="constrained")
    for axes, (key, values) in zip(panels, SERIES.items(), strict=True):
        some = values[: args.points]
        pairs = [row(config, samples, key, value) for value in some]
        for name, column in zip(("together", "serial loop"), zip(*pairs, strict=True), strict=True):
            axes.loglog(some, column, "o-", label=name)
        axes.set_xlabel(key)
        axes.set_xticks(some, map(str, some))
        axes.minorticks_off()
    panels[0].set_ylabel("seconds an epoch")
    panels[0].legend(frameon=False)
    figure.savefig(args.out, dpi=110)


def row(config: Config, samples: Split, key: str, value: int) -> tuple[float, float]:
    """Time one point of a series and print its row; return both times."""
    chosen = {**USUAL, key: value}
    ours, loop = times(config, samples, **chosen)
    members = chosen["rates"] * chosen["seeds"]
    print(f"| {key} | {value} | {members} | {ours:.3f} | {loop:.3f} | x {loop / ours:.2f} |")
    return ours, loop


def times(
    config: Config, samples: Split, rates: int, seeds: int, width: int, digits: int
) -> tuple[float, float]:
    """Return the seconds of an epoch of rates x seeds members, and of as many by the loop."""
    device, part = samples.inputs.device, first_samples(samples, digits)
    settings = [
        Setting(lambda rate=rate: MLP(MLPConfig(rate, width=width)), AdamWSettings(1e-3, 0.01))  # type: ignore[misc]
        for rate in timing.rates(rates)
    ]
    members = Population(settings, range(seeds), config.train, device)
    # the loop's time is the sum of its members': a few of them are enough
    models = [one.build().to(device) for one in settings for _ in range(seeds)][:8]
    works = (lambda: members.train_epoch(part, 0)), (lambda: train_serially(models, part, config))
    ours, loop = timing.medians(works, device, ROUNDS)
    return ours, loop * rates * seeds / len(models)


if __name__ == "__main__":
    main()
