"""What more workers bring and what larger generations cost: measured parts, and a simulation.

    python -m scripts.scaling [--reps 16] [--storage URL] [--out docs/scaling.png]

A study of 64 trials x 3 seeds is cut into generations. Its answer comes from the curves and the
noise of scripts/simulate.py; its time from what a trial costs its owner, measured here, and from
the time of a job, which varies by `--spread` from one worker to the next.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each process; small matrices gain by no more

import argparse
import itertools
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from scripts.simulate import AXES, CURVES, HIGH, LEVELS, LOW, SEEDS, Trainings
from sweep import answer
from sweep.sampler import even_levels, zoomed_levels
from sweep.storage import open_study

TRIALS = 64
GENERATIONS = (8, 16, 32, 64)
WORKERS = (1, 2, 4, 8, 16, 32, 64)
EPOCHS = 10


def regret(curve: str, generation: int, rep: int) -> float:
    """Return how much worse than the best rate is what a study finds, in sd of a training."""
    rng = np.random.default_rng([list(CURVES).index(curve), generation, rep])
    train = Trainings(curve, "mix", "medium", rng)
    whole: dict[float, dict[int, float]] = {}
    before: dict[float, dict[int, float]] = {}
    for number in range(TRIALS // generation):
        if before:
            levels = zoomed_levels(before, LOW, HIGH, generation, first=number == 1)
        else:
            levels = even_levels(LOW, HIGH, generation)
        seeds = range(1000 * number, 1000 * number + SEEDS)
        before = {rate: {seed: train(rate, seed) for seed in seeds} for rate in levels}
        for rate, values in before.items():
            whole.setdefault(rate, {}).update(values)
    points = [{"dropout": rate} for rate in whole]
    found = answer.best(points, list(whole.values()), AXES).point["dropout"]
    f = CURVES[curve]
    return (f(found) - min(f(rate) for rate in np.linspace(LOW, HIGH, 801))) / LEVELS["medium"]


def owner_seconds(url: str | None, n: int = 40) -> float:
    """Return the seconds that one trial costs its owner: asked for, told, with its epochs."""
    with tempfile.TemporaryDirectory() as folder:
        study = open_study(url or f"sqlite:///{folder}/study.db", f"scaling-{time.time_ns()}")
        begin = time.perf_counter()
        for number in range(n):
            trial = study.ask()
            trial.suggest_float("dropout", LOW, HIGH)
            for epoch in range(EPOCHS):
                trial.report(0.1, epoch)
            for name in ("val_loss_sem", "gap", "seeds", "trained"):
                trial.set_user_attr(name, [float(number)] * 100)
            study.tell(trial, 0.1)
        return (time.perf_counter() - begin) / n


def hours(
    workers: int, generation: int, args: argparse.Namespace, trial: float, full: bool
) -> float:
    """Return how long the study takes.

    On a device that is full a job takes as long as it has members; on one with room it takes as
    long as one of a generation of 8, whatever it has.
    """
    rng = np.random.default_rng(0)
    sigma = np.sqrt(np.log(1 + args.spread**2))
    jobs = min(workers, generation)
    part = np.ceil(generation / jobs) / 8 if full else 1.0
    times = np.exp(rng.normal(-(sigma**2) / 2, sigma, (400, jobs))) * part * args.job
    slowest = args.start + times.max(1).mean()
    return (TRIALS / generation * (slowest + args.launch) + TRIALS * trial) / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=16)
    parser.add_argument("--storage", help="a database to measure instead of SQLite")
    parser.add_argument("--job", type=float, default=600, help="seconds of 8 trials on one device")
    parser.add_argument("--start", type=float, default=6, help="seconds until a job trains")
    parser.add_argument("--launch", type=float, default=2, help="seconds of a launcher for each")
    parser.add_argument("--spread", type=float, default=0.1, help="sd of a job's time, as a part")
    parser.add_argument("--out", type=Path, default=Path("scaling.png"))
    args = parser.parse_args()
    trial = owner_seconds(args.storage)
    print(f"a trial of {EPOCHS} epochs costs its owner {1000 * trial:.0f} ms in the storage\n")
    regrets = quality(args.reps)
    print("| generation | regret, sd of a training | standard error |\n| ---: | ---: | ---: |")
    for generation, values in regrets.items():
        error = np.std(values) / np.sqrt(len(values))
        print(f"| {generation} | {np.mean(values):.3f} | {error:.3f} |")
    for full in (True, False):
        print(f"\n{'full devices' if full else 'devices with room'}, hours:\n")
        print(f"| generation | {' | '.join(f'{w} workers' for w in WORKERS)} |")
        print("| ---: |" + " ---: |" * len(WORKERS))
        for generation in GENERATIONS:
            row = [f"{hours(w, generation, args, trial, full):.2f}" for w in WORKERS]
            print(f"| {generation} | {' | '.join(row)} |")
    draw(regrets, args, trial)


def quality(reps: int) -> dict[int, list[float]]:
    curves = [curve for curve in CURVES if curve != "flat"]
    with ProcessPoolExecutor(2) as pool:
        cells = {g: list(itertools.product(curves, [g], range(reps))) for g in GENERATIONS}
        return {g: list(pool.map(regret, *zip(*cells[g], strict=True))) for g in GENERATIONS}


def draw(regrets: dict[int, list[float]], args: argparse.Namespace, trial: float) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, *right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    errors = [np.std(v) / np.sqrt(len(v)) for v in regrets.values()]
    left.errorbar(GENERATIONS, [np.mean(v) for v in regrets.values()], errors, marker="o")
    left.set(xscale="log", xlabel="trials of a generation", ylabel="regret, sd of a training")
    left.set_xticks(GENERATIONS, [str(g) for g in GENERATIONS], minor=False)
    left.set_ylim(0)
    left.minorticks_off()
    left.set_title(f"{TRIALS} trials x {SEEDS} seeds: what is found")
    for axes, full in zip(right, (True, False), strict=True):
        for generation in GENERATIONS:
            times = [hours(w, generation, args, trial, full) for w in WORKERS]
            axes.loglog(WORKERS, times, "o-", label=f"generations of {generation}")
        axes.set_xticks(WORKERS, [str(w) for w in WORKERS], minor=False)
        axes.set(xlabel="workers", ylabel="hours")
        axes.set_title("devices that are full" if full else "devices with room")
    right[0].legend(frameon=False)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
