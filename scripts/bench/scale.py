"""What an epoch costs as rates, seeds, width or digits grow: together, and by the serial loop.

    python -m scripts.bench.scale --out docs/scale.png

One of them varies at a time, around 8 rates x 3 seeds of 784-256-256-10 on 2,560 digits.
"""

import argparse
import statistics
from pathlib import Path

import torch

from models.mlp import MLP, MLPConfig
from scripts.bench.workload import WORKLOADS, digits
from sweep.check import first, seconds, serial
from sweep.command.config import Config, TrainConfig
from sweep.engine.optimizer import AdamWSettings
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.workload.data import Split

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
    parser.add_argument("--out", type=Path, default=Path("scale.png"))
    args = parser.parse_args()
    print("\n".join(section(torch.device(args.device), args.out)))


def section(device: torch.device, picture: Path) -> list[str]:
    """Return the table, as Markdown, and draw it."""
    samples = digits(WORKLOADS["large"]).to(device).train
    head = "| varied | | members | together, s an epoch | serial loop, s an epoch | together |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: |"]
    points = {}
    for key, values in SERIES.items():
        for value in values:
            chosen = {**USUAL, key: value}
            pair = points[key, value] = times(samples, device, **chosen)
            n, (ours, loop) = chosen["rates"] * chosen["seeds"], pair
            lines.append(
                f"| {key} | {value} | {n} | {ours:.3f} | {loop:.3f} | x {loop / ours:.2f} |"
            )
    draw(points, picture)
    return lines


def times(
    samples: Split, device: torch.device, rates: int, seeds: int, width: int, digits: int
) -> tuple[float, float]:
    """Return the seconds of an epoch of rates x seeds members, and of as many by the loop."""
    settings = [
        Setting(
            lambda r=rate: MLP(MLPConfig(dropout=0.8 * r / rates, width=width)),
            AdamWSettings(1e-3, 0.01),
        )  # type: ignore[misc]
        for rate in range(rates)
    ]
    config, part = Config(train=TrainConfig()), first(samples, digits)
    members = Population(settings, range(seeds), config.train, device)
    # the loop's time is the sum of its members': a few of them are enough
    models = [one.build().to(device) for one in settings for _ in range(seeds)][:8]
    works = (lambda: members.train_epoch(part, 0)), (lambda: serial(models, part, config))
    rounds = [[seconds(work, device) for work in works] for _ in range(ROUNDS + 1)][1:]
    ours, loop = (statistics.median(column) for column in zip(*rounds, strict=True))
    return ours, loop * rates * seeds / len(models)


def draw(points: dict[tuple[str, int], tuple[float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(SERIES), figsize=(13, 3.2), layout="constrained")
    for axes, (key, values) in zip(panels, SERIES.items(), strict=True):
        for place, name in enumerate(("together", "serial loop")):
            axes.loglog(values, [points[key, v][place] for v in values], "o-", label=name)
        axes.set_xlabel(key)
        axes.set_xticks(values, [str(v) for v in values], minor=False)
        axes.minorticks_off()
    panels[0].set_ylabel("seconds an epoch")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
