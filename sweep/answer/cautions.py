"""What makes an answer worth less than it looks, in a line each.

Every test is one-sided at 1%, so that a warning is a false alarm in less than 2% of studies.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.special import fdtrc, stdtr

from sweep.answer.confirmation import Confirmation
from sweep.answer.findings import Findings
from sweep.answer.gain import HELPS
from sweep.answer.row import FAILED, PRUNED, Row, complete_rows

LEVEL = 0.01
FLAT = 0.5  # chance of no effect from which on the end of a search says nothing
CHANCE = 0.95  # part of the error of a constant guess


def all_cautions(
    found: Findings, confirmation: Confirmation | None, attrs: Mapping[str, Any]
) -> Iterator[str]:
    yield from _of_the_edge(found, confirmation)
    yield from _of_the_budget(found, attrs["config"]["train"]["epochs"])
    yield from _of_learning(found, attrs.get("guess"))
    yield from _of_the_spread(complete_rows(found.rows))
    yield from _of_the_promise(found, confirmation)
    yield from _of_what_ended_early(found.rows)


def _of_the_edge(found: Findings, confirmation: Confirmation | None) -> Iterator[str]:
    """Look whether the best lies at a bound of the search that is no natural one."""
    gain = confirmation.gain if confirmation else None
    matters = found.best.flat < FLAT or (gain is not None and gain.verdict == HELPS)
    for axis in found.axes:
        value, range_ = found.best.point[axis.key], found.best.ranges[axis.key]
        end = max(axis.ends) if range_.edge == "high" else min(axis.ends)
        near = abs(value - end) <= 0.05 * (max(axis.ends) - min(axis.ends))
        if range_.edge and near and matters:
            side = "highest" if range_.edge == "high" else "lowest"
            yield f"the {side} {axis.key} searched, {end:.6g}, is among the best: search further"


def _of_the_budget(found: Findings, epochs: int) -> Iterator[str]:
    """Look how the losses near the best rate, and without dropout, end."""
    done = complete_rows(found.rows)
    rate = found.best.point["dropout"]
    near = sorted(done, key=lambda row: abs(row.rate - rate))[:2]
    longer = f"with longer training another rate may be best: try train.epochs={2 * epochs}"
    if clearly_above_zero([-slope for slope in _of_seeds(near, "end_slopes")]):
        yield f"validation loss at the best rate was still falling at the last epoch; {longer}"
    elif clearly_above_zero(_of_seeds(near, "half_slopes")):
        after = near[0].lowest_epoch
        yield f"the validation loss at the best rate rises after epoch {after}: it overfits in time"
    zero = [row for row in done if row.rate == 0 and row not in near]
    if clearly_above_zero([-slope for slope in _of_seeds(zero, "end_slopes")]):
        yield f"without dropout the validation loss was still falling at the last epoch; {longer}"


def _of_seeds(rows: Sequence[Row], slopes: str) -> list[float]:
    """Return the mean slope of each seed over the rows that have it."""
    pairs = [pair for row in rows for pair in zip(row.seeds, getattr(row, slopes), strict=True)]
    return [fmean(s for own, s in pairs if own == seed) for seed in {seed for seed, _ in pairs}]


def clearly_above_zero(values: Sequence[float]) -> bool:
    """Return whether a mean over seeds is above zero, by Student's t at LEVEL, one-sided."""
    n = len(values)
    if n < 2 or not (spread := stdev(values)):
        return False
    return float(stdtr(n - 1, fmean(values) / spread * math.sqrt(n))) > 1 - LEVEL


def _of_learning(found: Findings, guess: Mapping[str, float] | None) -> Iterator[str]:
    """Compare the best with a guess that is the same for all samples."""
    best = min(
        (row.metrics[found.metric].mean for row in complete_rows(found.rows)), default=math.nan
    )
    constant = (guess or {}).get(found.metric)
    if constant is not None and best > CHANCE * constant:
        name = found.metric.replace("_", " ")
        yield (
            f"the network has hardly learned: the best {name} is {best:.4g}, that of a constant "
            f"guess {constant:.4g}; the rate means nothing here"
        )


def _of_the_spread(done: Sequence[Row]) -> Iterator[str]:
    """Compare the spread over seeds of the upper half of the rates with the lower half's.

    The rates of a seed are alike, so a half has the degrees of freedom of its seeds only.
    """
    ordered = sorted(done, key=lambda row: row.rate)
    half = len(ordered) // 2
    pools = []
    for rows in (ordered[:half], ordered[-half:] if half else []):
        own = [row.metrics["val_loss"].of_seeds for row in rows if len(row.seeds) > 1]
        df = sum(len(seeds) - 1 for seeds in {row.seeds for row in rows})
        pools.append((df, fmean(stdev(values) ** 2 for values in own) if own else 0.0))
    (df_low, low), (df_high, high) = pools
    if df_low > 0 and low > 0 and fdtrc(df_high, df_low, high / low) < LEVEL:
        yield f"seeds differ more at high rates (sd {high**0.5:.4f}) than at low ({low**0.5:.4f})"


def _of_the_promise(found: Findings, confirmation: Confirmation | None) -> Iterator[str]:
    """Look whether the confirmed value is clearly worse than what the search made of the point."""
    if confirmation is None or found.best.promised is None:
        return
    measure = confirmation.chosen.metrics.get(found.metric)
    if measure is None or measure.sem is None:
        return
    mean, sd = found.best.promised
    apart = math.hypot(sd, measure.sem)
    if measure.mean - mean > 3 * apart and confirmation.chosen.params == found.best.point:
        yield (
            f"the confirmation ({measure.mean:.4f}) is clearly worse than what the search promised "
            f"({mean:.4f} ± {sd:.4f}): believe the confirmation, or search with more seeds"
        )


def _of_what_ended_early(rows: Sequence[Row]) -> Iterator[str]:
    trials = [row for row in rows if row.number is not None]
    if pruned := sum(row.state == PRUNED for row in trials):
        yield (
            f"halving gave up {pruned} of {len(trials)} trials on their way; high rates learn "
            "slowly, so it favours low ones"
        )
    for row in trials:
        if row.state == FAILED:
            yield f"trial {row.number} (rate {row.rate:.6g}) failed: {row.reason}"
