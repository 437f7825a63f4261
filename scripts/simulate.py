"""Try the answer on curves whose truth is known; print a table.

    python -m scripts.simulate [--reps 100] [--jobs 2] [--trials 14] [--generation 9] [--seeds 2]

Nine curves on [0, 0.8] and seven noises; T is the sd of a training at low rates, where most curves
are 1 deep. Each study searches as the default command does and confirms on fresh seeds.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from sweep.answer.best import NOTHING, Best, Range, find_best
from sweep.answer.gain import LOOKS, judge
from sweep.answer.levels import even_levels, zoomed_levels
from sweep.command.space import Axis

LOW, HIGH = 0.0, 0.8
AXIS = Axis("dropout", (), LOW, HIGH)


def bowl(rate: float, at: float, left: float, right: float, top: float, zero: float = 1.0) -> float:
    """`zero` at rate 0, 0 at `at`, `top` at the end."""
    if rate <= at:
        return zero * ((at - rate) / at) ** left
    return top * ((rate - at) / (HIGH - at)) ** right


CURVES: dict[str, Callable[[float], float]] = {
    "early": partial(bowl, at=0.02, left=1.0, right=0.8, top=2.0, zero=0.25),
    "late": partial(bowl, at=0.65, left=2.0, right=2.0, top=1.0),
    "wells": lambda d: min(
        0.05 + bowl(d, 0.2, 2, 2, 9, 0.95), bowl(d, at=0.6, left=2.0, right=2.0, top=1.0, zero=9)
    ),
    "plateau": lambda d: max(0.0, 1 - d / 0.2) ** 2 + 10 * max(0.0, (d - 0.5) / 0.3) ** 2,
    "tiny": partial(bowl, at=0.3, left=2.0, right=2.0, top=1.0, zero=0.05),
    "realwall": partial(bowl, at=0.35, left=2.0, right=3.0, top=20.0, zero=0.2),
    "hockey": lambda d: 3 * max(0.0, (d - 0.3) / 0.5) ** 1.5,
    "bell": partial(bowl, at=0.4, left=2.0, right=2.0, top=1.0),
    "flat": lambda d: 0.0,
}
NOISES = ("white", "bigoffset", "mix", "hetero", "t3", "outlier", "rough")
LEVELS = (0.3, 1.0)
GRID = np.linspace(LOW, HIGH, 81)
TRUE_AT = np.linspace(LOW, HIGH, 801)


def smooth_root(length: float) -> np.ndarray:
    apart = (GRID[:, None] - GRID) / length
    return np.linalg.cholesky(np.exp(-0.5 * apart**2) + 1e-8 * np.eye(len(GRID)))


ROOTS = {"mix": smooth_root(0.25), "rough": smooth_root(0.06)}


@dataclass(frozen=True)
class World:
    """What a training of a rate with a seed would give, the same whenever it is asked."""

    curve: str
    noise: str
    level: float
    rep: int

    def __call__(self, rate: float, seed: int) -> float:
        return CURVES[self.curve](rate) + self.level * self._noise(rate, seed)

    def _draws(self, *keys: int) -> np.random.Generator:
        cell = [list(CURVES).index(self.curve), NOISES.index(self.noise), round(10 * self.level)]
        return np.random.default_rng([*cell, self.rep, *keys])

    def _noise(self, rate: float, seed: int) -> float:
        own = self._draws(seed, round(1e4 * rate) + 1)
        white = float(own.standard_normal())
        match self.noise:
            case "bigoffset":
                return 3 * float(self._draws(seed).standard_normal()) + white
            case "mix" | "rough":
                rng = self._draws(seed)
                shared = float(rng.standard_normal()) if self.noise == "mix" else 0.0
                curve = ROOTS[self.noise] @ rng.standard_normal(len(GRID))
                bent = float(np.interp(rate, GRID, curve))
                parts = (0.45, 0.45, 0.1) if self.noise == "mix" else (0.0, 0.5, 0.5)
                weights = [math.sqrt(part) for part in parts]
                return weights[0] * shared + weights[1] * bent + weights[2] * white
            case "hetero":
                return white * (1 + 10 * (rate / HIGH) ** 2)
            case "t3":
                return float(own.standard_t(3)) / math.sqrt(3)
            case "outlier":
                return white + 6 * float(own.random() < 0.05)
        return white


@dataclass(frozen=True)
class Found:
    """What one simulated study came to."""

    regret: float
    covered: bool
    width: float  # of all islands together
    islands: int
    worst: float  # true excess in the set
    verdict: str
    trainings: int


def search(world: World, n_trials: int, generation: int, n_seeds: int) -> tuple[Best, int]:
    points: list[dict[str, float]] = []
    rows: list[dict[int, float]] = []
    for first in range(0, n_trials, generation):
        n = min(generation, n_trials - first)
        if first:
            levels = zoomed_levels(points, rows, AXIS, generation)
        else:
            levels = even_levels(LOW, HIGH, generation)
        seeds = range(1000 * first, 1000 * first + n_seeds)
        points += [{"dropout": rate} for rate in levels[:n]]
        rows += [{seed: world(rate, seed) for seed in seeds} for rate in levels[:n]]
    return find_best(points, rows, [AXIS])[0], n_trials * n_seeds


def confirm(world: World, rate: float) -> tuple[str, int]:
    """Return the verdict on a rate against none, and the trainings that it took."""
    for look in LOOKS:
        seeds = range(10**6, 10**6 + look.seeds)
        given, without = ([world(at, seed) for seed in seeds] for at in (rate, 0.0))
        gain = judge("val_loss", given, without)
        if gain.final:
            break
    return str(gain.verdict), 2 * gain.seeds


def study(cell: tuple[str, str, float], design: tuple[int, int, int], rep: int) -> Found:
    world, f = World(*cell, rep), CURVES[cell[0]]
    found, searched = search(world, *design)
    range_, rate = found.ranges["dropout"], float(found.point["dropout"])
    true = np.array([f(d) for d in TRUE_AT])
    lowest = true.min()
    near = [abs(d - e) <= 0.005 for d in TRUE_AT[true <= lowest + 1e-9] for e in _members(range_)]
    verdict, trained = confirm(world, rate if rate >= NOTHING else 0.1)
    return Found(
        f(rate) - lowest,
        any(near),
        sum(high - low for low, high in range_.islands),
        len(range_.islands),
        max(f(d) for d in _members(range_)) - lowest,
        verdict,
        searched + trained,
    )


def _members(range_: Range) -> list[float]:
    return [float(d) for a, b in range_.islands for d in {a, b, *GRID[(a <= GRID) & (b >= GRID)]}]


HEAD = "curve|noise|T|regret/T|se|coverage|width|holes|worst/T|helps|hurts|trainings"


def table_row(cell: tuple[str, str, float], found: list[Found]) -> str:
    level, n = cell[2], len(found)
    regret = np.array([one.regret for one in found]) / level
    mean = {
        name: float(np.mean([getattr(one, name) for one in found]))
        for name in ("covered", "width", "worst", "trainings")
    }
    told = [float(np.mean([one.verdict == word for one in found])) for word in ("helps", "hurts")]
    holes = float(np.mean([one.islands > 1 for one in found]))
    numbers = [regret.mean(), regret.std() / math.sqrt(n), mean["covered"], mean["width"], holes]
    numbers += [mean["worst"] / level, *told]
    return f"| {' | '.join(map(str, cell))} | " + " | ".join(
        [*(f"{number:.3f}" for number in numbers), f"{mean['trainings']:.1f}"]
    ) + " |"  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("reps", 100), ("jobs", 2), ("trials", 14), ("generation", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    design = (args.trials, args.generation, args.seeds)
    print(f"| {HEAD} |\n|{' --- |' * (HEAD.count('|') + 1)}")
    with ProcessPoolExecutor(args.jobs) as pool:
        for cell in itertools.product(CURVES, NOISES, LEVELS):
            one = partial(study, cell, design)
            print(table_row(cell, list(pool.map(one, range(args.reps), chunksize=10))), flush=True)


if __name__ == "__main__":
    main()
