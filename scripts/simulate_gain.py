"""Try the confirmation on differences whose truth is known; print a table.

    python -m scripts.simulate_gain [--reps 20000]

Pairs of normal, heavy-tailed and skewed noise, and a true gain in sd of the pairs.
"""

import argparse
from collections.abc import Callable

import numpy as np

from sweep.answer.gain import HELPS, LOOKS, NO_EVIDENCE, Gain, judge

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
NOISES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / 3**0.5,
    "one arm exponential": lambda rng, shape: (
        (rng.standard_exponential(shape) - 1 - rng.standard_normal(shape)) / 2**0.5
    ),
    "gamma(4)": lambda rng, shape: (rng.standard_gamma(4, shape) - 4) / 2,
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - 1,
}
GAINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def confirm(differences: list[float]) -> Gain:
    """Judge differences at one look after another until it ends."""
    for look in LOOKS:
        some = differences[: look.seeds]
        found = judge("val_loss", [0.0] * len(some), some)
        if found.final:
            break
    return found


def table_row(noise: str, gain: float, reps: int) -> str:
    rng = np.random.default_rng(7)
    draws = NOISES[noise](rng, (reps, LOOKS[-1].seeds)) + gain
    found = [confirm(row) for row in draws.tolist()]
    wrong = np.mean([one.verdict not in (NO_EVIDENCE, HELPS if gain else "") for one in found])
    helps = [one for one in found if one.verdict == HELPS]
    covered = np.mean([(one.low or 0) <= gain <= (one.high or 0) for one in found])
    seeds = np.mean([one.seeds for one in found])
    stated = np.mean([one.value or 0 for one in helps]) / gain if gain and helps else np.nan
    numbers = (len(helps) / reps, wrong, covered, seeds, stated)
    return f"| {noise} | {gain} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=20_000)
    reps = parser.parse_args().reps
    print("| noise | true gain | helps | wrong | covered | seeds | stated / true if helps |")
    print("| --- |" + " --: |" * 6)
    for noise in NOISES:
        for gain in GAINS:
            print(table_row(noise, gain, reps), flush=True)


if __name__ == "__main__":
    main()
