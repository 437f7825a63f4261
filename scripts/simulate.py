"""Try the answer on curves whose truth is known, against Optuna's best trial; print a table.

    python -m scripts.simulate [--reps 100] [--jobs 2]

Five curves on [0, 0.8], each 1 deep; the sd of a training is 0.1, 0.3 or 1 at low rates and grows
with the rate; its noise is independent, or shared between the rates of a seed as it was measured on
real networks ("mix": 45% offset of the seed, 45% smooth in the rate, 10% white), or nearly all
smooth. 16 trials x 3 seeds: 8 even levels, then 8 more by the sampler's own zoom.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import optuna

from sweep.answer.best import NOTHING, best
from sweep.answer.gain import LOOKS, gain
from sweep.command.space import Axis
from sweep.study.sampler import even_levels, zoomed_levels

LOW, HIGH, TRIALS, SEEDS = 0.0, 0.8, 8, 3
AXES = [Axis("dropout", (), LOW, HIGH)]


def bowl(rate: float, at: float, left: float, right: float, top: float) -> float:
    """1 deep at rate 0, 0 at `at`, `top` high at the end."""
    if rate <= at:
        return ((at - rate) / at) ** left if at > 0 else 0.0
    return top * ((rate - at) / (HIGH - at)) ** right


CURVES: dict[str, Callable[[float], float]] = {
    "U": lambda rate: bowl(rate, at=0.475, left=2.5, right=3.0, top=2.0),
    "rising": lambda rate: bowl(rate, at=0.0, left=1.0, right=1.5, top=1.0),
    "edge": lambda rate: bowl(rate, at=0.74, left=2.0, right=2.0, top=0.05),
    "sharp": lambda rate: bowl(rate, at=0.585, left=2.0, right=3.0, top=27.0),
    "cliff": lambda rate: bowl(rate, at=0.585, left=1.5, right=2.0, top=27.0),
    "flat": lambda rate: 0.0,
}
NOISES = {"independent": (0.0, 0.0, 1.0), "mix": (0.45, 0.45, 0.1), "smooth": (0.0, 0.95, 0.05)}
LEVELS = {"low": 0.1, "medium": 0.3, "high": 1.0}


class Trainings:
    """Draws what a training of a rate with a seed would give."""

    def __init__(self, curve: str, noise: str, level: str, rng: np.random.Generator) -> None:
        self.curve, self.sd, self.rng = CURVES[curve], LEVELS[level], rng
        self.offset, self.smooth, self.white = (math.sqrt(part) for part in NOISES[noise])
        grid = np.linspace(LOW, HIGH, 161)
        self.root = np.linalg.cholesky(
            np.exp(-0.5 * ((grid[:, None] - grid) / 0.25) ** 2) + 1e-8 * np.eye(161)
        )
        self.grid = grid
        self.seeds: dict[int, tuple[float, np.ndarray]] = {}

    def __call__(self, rate: float, seed: int) -> float:
        if seed not in self.seeds:
            normal = self.rng.standard_normal
            self.seeds[seed] = (float(normal()), self.root @ normal(161))
        offset, smooth = self.seeds[seed]
        noise = self.offset * offset + self.white * self.rng.standard_normal()
        noise += self.smooth * float(np.interp(rate, self.grid, smooth))
        return self.curve(rate) + self.sd * (0.75 + rate) * noise


@dataclass
class Found:
    """What one simulated study came to."""

    regret: float
    regret_of_best_trial: float
    covered: bool
    width: float
    verdict: str
    optimism: float | None  # of the confirmed value, in sds


def study(curve: str, noise: str, level: str, rep: int, rival: bool = True) -> Found:
    cell = [list(CURVES).index(curve), list(NOISES).index(noise), list(LEVELS).index(level)]
    rng = np.random.default_rng([*cell, rep])
    train = Trainings(curve, noise, level, rng)
    f = CURVES[curve]
    lowest = min(f(rate) for rate in np.linspace(LOW, HIGH, 801))
    rates = even_levels(LOW, HIGH, TRIALS)
    table = {rate: {s: train(rate, s) for s in range(SEEDS)} for rate in rates}
    for rate in zoomed_levels(table, LOW, HIGH, TRIALS, first=True):
        table[rate] = {s: train(rate, s) for s in range(1000, 1000 + SEEDS)}
    found = best([{"dropout": rate} for rate in table], list(table.values()), AXES)
    rate = found.point["dropout"]
    range_ = found.ranges["dropout"]
    optimum = [r for r in np.linspace(LOW, HIGH, 801) if f(r) <= lowest + 1e-12]
    verdict, optimism = confirm(train, rate)
    return Found(
        regret=f(rate) - lowest,
        regret_of_best_trial=f(best_trial(train, cell, rep)) - lowest if rival else math.nan,
        covered=any(range_.low - 0.005 <= r <= range_.high + 0.005 for r in optimum),
        width=range_.high - range_.low,
        verdict=verdict,
        optimism=None if optimism is None else optimism / (train.sd * (0.75 + rate)),
    )


def confirm(train: Trainings, rate: float) -> tuple[str, float | None]:
    """Confirm on fresh seeds; return the verdict and by how much the value found is off."""
    if rate < NOTHING:
        return "no dropout", None
    pairs: list[tuple[float, float]] = []
    for looks in LOOKS:
        pairs += [(train(rate, s), train(0.0, s)) for s in range(10**6 + len(pairs), 10**6 + looks)]
        judged = gain([zero - chosen for chosen, zero in pairs])
        if judged.verdict != "no evidence":
            break
    return judged.verdict, float(np.mean([chosen for chosen, _ in pairs]) - train.curve(rate))


def best_trial(train: Trainings, cell: list[int], rep: int) -> float:
    """Search as people do: TPE, 48 trials of one seed, the best trial's rate."""
    seed = int(np.random.SeedSequence([*cell, rep, 1]).generate_state(1)[0])
    search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    search.optimize(
        lambda trial: train(trial.suggest_float("dropout", LOW, HIGH), 10**7), n_trials=48
    )
    return float(search.best_params["dropout"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    cells = list(itertools.product(CURVES, NOISES, LEVELS))
    print("| curve | noise | sd | regret | of best_trial | ratio | coverage | width |", end=" ")
    print("helps | hurts | optimism |")
    print("| --- | --- | --- |" + " --: |" * 8)
    with ProcessPoolExecutor(args.jobs) as pool:
        for cell in cells:
            columns = zip(*[(*cell, rep) for rep in range(args.reps)], strict=True)
            print(row(cell, list(pool.map(study, *columns, chunksize=10))), flush=True)


def row(cell: tuple[str, str, str], found: list[Found]) -> str:
    sd = LEVELS[cell[2]]
    regret = np.mean([f.regret for f in found]) / sd
    other = np.mean([f.regret_of_best_trial for f in found]) / sd
    covered = np.mean([f.covered for f in found])
    width = np.mean([f.width for f in found])
    helps, hurts = (np.mean([f.verdict == word for f in found]) for word in ("helps", "hurts"))
    optimism = [f.optimism for f in found if f.optimism is not None]
    ratio = f"{regret / other:.2f}" if other > 0 else "-"
    return (
        f"| {' | '.join(cell)} | {regret:.3f} | {other:.3f} | {ratio} | {covered:.2f} | "
        f"{width:.2f} | {helps:.2f} | {hurts:.2f} | {np.mean(optimism or [0]):+.2f} |"
    )


if __name__ == "__main__":
    main()
