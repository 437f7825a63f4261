"""What an epoch costs as rates, seeds, width or digits grow: together, and by the serial loop.

    python -m scripts.bench.scale --out docs/scale.png

One of them varies at a time, around 8 rates x 3 seeds of 784-256-256-10 on 2,560 digits.
"""

import argparse
from pathlib import Path

import matplotlib
import torch

from scripts.bench import timing
from scripts.bench.workload import WORKLOADS, digits
from sweep.check import first_samples, medians_of, read_config, train_serially
from sweep.engine.population import FUSED
from sweep.engine.setting import setting_of
from sweep.engine.workers import most_workers, population_of
from sweep.workload.data import Data

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
    data = digits(WORKLOADS["large"]).to(torch.device(args.device))
    print("| varied | | members | together, s an epoch | serial loop, s an epoch | together |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    figure, panels = plt.subplots(1, len(SERIES), figsize=(13, 3.2), layout="constrained")
    for axes, (key, values) in zip(panels, SERIES.items(), strict=True):
        some = values[: args.points]
        pairs = [times(data, args.precision, key, value) for value in some]
        ours, loop = zip(*pairs, strict=True)
        axes.loglog(some, ours, "o-", label="together")
        axes.loglog(some, loop, "o-", label="serial loop")
        axes.set_xlabel(key)
        axes.set_xticks(some, map(str, some))
        axes.minorticks_off()
    panels[0].set_ylabel("seconds an epoch")
    panels[0].legend(frameon=False)
    figure.savefig(args.out, dpi=110)


def times(data: Data, precision: str, key: str, value: int) -> tuple[float, float]:
    """Time an epoch of all members, and of as many by the loop; print the row of a point."""
    rates, seeds, width, n = {**USUAL, key: value}.values()
    config = read_config([f"model.width={width}", f"train.precision={precision}"])
    device, part = data.train.targets.device, first_samples(data.train, n)
    settings = [setting_of(config, {"dropout": rate}, data) for rate in timing.rates(rates)]
    # the loop's time is the sum of its members': a few of them are enough
    models = [one.build().to(device) for one in settings for _ in range(seeds)][:8]
    n, seen = most_workers(FUSED, config.train, device), range(seeds)
    with population_of(settings, seen, config.train, device, FUSED, n, [part]) as members:
        works = (
            lambda: members.train_epoch(part, 0),
            lambda: train_serially(models, part, config),
        )
        ours, loop = medians_of(works, device, ROUNDS)
    loop *= rates * seeds / len(models)
    print(f"| {key} | {value} | {rates * seeds} | {ours:.3f} | {loop:.3f} | x {loop / ours:.2f} |")
    return ours, loop


if __name__ == "__main__":
    main()
