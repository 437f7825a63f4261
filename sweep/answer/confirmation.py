"""What fresh seeds said of the answer, as the study recorded it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sweep.answer.gain import NO_EVIDENCE, Gain, judge
from sweep.answer.row import Measure, measured
from sweep.command.space import Number
from sweep.work import LOWEST


@dataclass(frozen=True)
class Confirmed:
    """One of the two points, trained on the seeds of the confirmation."""

    params: dict[str, Number]
    metrics: dict[str, Measure]  # of validation, and with test_ of the test samples


@dataclass(frozen=True)
class OnOtherSamples:
    """The gain with a range for other seeds and other samples like these; it decides nothing."""

    split: str  # test | val: whose samples these are
    metric: str  # loss, or the second metric
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Confirmation:
    """Both points on the same fresh seeds."""

    seeds: tuple[int, ...]
    chosen: Confirmed
    baseline: Confirmed | None  # None if there is nothing to compare with
    gains: tuple[Gain, ...]  # of the searched metric, then of the other one
    early: Gain | None  # if of each training the best epoch were kept: optimistic
    on_other_samples: OnOtherSamples | None = None
    attempt: int = 1  # more if the answer moved since it was first confirmed

    @property
    def gain(self) -> Gain | None:
        """By how much the chosen point beats no dropout in the searched metric."""
        return self.gains[0] if self.gains else None


@dataclass(frozen=True)
class AtOtherRate:
    """The comparison repeated at another learning rate, on seeds of the confirmation."""

    lr: float
    gain: Gain | None  # None if a training failed
    change: Gain | None  # by how much the gain is larger there


def read_confirmations(
    attrs: Mapping[str, Any], metric: str
) -> tuple[Confirmation | None, tuple[AtOtherRate, ...]]:
    """Return what a study's attributes say of its confirmation, there and at other rates."""
    recorded = attrs.get("confirmation")
    if not recorded:
        return None, ()
    # with a mean squared error the second metric is its root
    twins = attrs["fingerprint"]["train"]["loss"] == "mse" and "val_rmse" in recorded["chosen"]
    confirmation = read_confirmation(recorded, metric, twins)
    return confirmation, read_robustness(attrs.get("robustness") or (), recorded, metric)


def read_confirmation(recorded: Mapping[str, Any], metric: str, twins: bool) -> Confirmation:
    """Return what a study recorded, judged in the searched metric first.

    The second metric is tested only if the first has a verdict, so that both together are wrong in
    no more than 5% (a fixed sequence); nor if they are twins, each a function of the other.
    """
    chosen, baseline = (_numbers(recorded[name]) for name in ("chosen", "baseline"))
    gains, early = list[Gain](), None
    if chosen and baseline:
        share = 0.5 ** (recorded["attempt"] - 1)
        gains = [judge(metric, chosen[metric], baseline[metric], share=share)]
        tested = gains[0].verdict != NO_EVIDENCE and not twins
        others = [name for name in chosen if name.startswith("val_") and name != metric]
        gains += [judge(n, chosen[n], baseline[n], tested, share) for n in others]
        early = judge(metric, chosen[LOWEST], baseline[LOWEST])
    return Confirmation(
        tuple(recorded["seeds"]),
        _confirmed(recorded["chosen"], chosen),
        _confirmed(recorded["baseline"], baseline) if baseline else None,
        tuple(gains),
        early,
        _on_other_samples(recorded.get("samples"), metric, chosen, baseline),
        recorded["attempt"],
    )


def samples_sem(differences: Sequence[float]) -> float | None:
    """Return the standard error of a mean over samples; None if it is not known."""
    n = len(differences)
    sem = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return sem if math.isfinite(sem) else None


def _on_other_samples(
    recorded: Mapping[str, Any] | None,
    metric: str,
    chosen: Mapping[str, Sequence[float]],
    baseline: Mapping[str, Sequence[float]],
) -> OnOtherSamples | None:
    """Add the variance of the mean over samples to that over seeds, 95% by Student's t.

    Degrees of freedom of the sum: Satterthwaite 1946, those of the samples taken as infinite. The
    samples' part is of means over the seeds, so what one seed makes of one sample is in both.
    """
    if not recorded:
        return None
    name = metric.removeprefix("val_")
    name = name if name in recorded["sem"] else "loss"
    sem, key = recorded["sem"].get(name), f"{recorded['split']}_{name}"
    whole = [b - a for a, b in zip(chosen[key], baseline[key], strict=True)]
    if sem is None or len(whole) < 2 or not all(map(math.isfinite, whole)):
        return None
    over_seeds = stdev(whole) / math.sqrt(len(whole))
    variance = over_seeds**2 + sem**2
    df = (len(whole) - 1) * (variance / over_seeds**2) ** 2 if over_seeds else math.inf
    half = float(stdtrit(min(df, 1e9), 0.975)) * math.sqrt(variance)
    value = fmean(whole)
    return OnOtherSamples(recorded["split"], name, value, value - half, value + half)


def _numbers(point: Mapping[str, Any] | None) -> dict[str, list[float]]:
    """Return each metric's numbers."""
    of_seeds = {name: values for name, values in (point or {}).items() if name != "params"}
    return {name: with_nan(values) for name, values in of_seeds.items()}


def with_nan(values: Sequence[float | None]) -> list[float]:
    """Return recorded numbers; what diverged was recorded as null, and is nan."""
    return [math.nan if value is None else value for value in values]


def _confirmed(point: Mapping[str, Any], numbers: Mapping[str, Sequence[float]]) -> Confirmed:
    whole = {
        name: [value for value in values if math.isfinite(value)]
        for name, values in numbers.items()
        if name != LOWEST
    }
    return Confirmed(point["params"], {n: measured(v) for n, v in whole.items() if v})


def read_robustness(
    recorded: Sequence[Mapping[str, Any]], confirmed: Mapping[str, Any], metric: str
) -> tuple[AtOtherRate, ...]:
    """Compare the gain at other learning rates with the gain at train.lr on the same seeds."""
    found = []
    for record in recorded:
        gain, change = None, None
        if record["chosen"]:
            chosen, baseline = (_numbers(record[name]) for name in ("chosen", "baseline"))
            gain = judge(metric, chosen[metric], baseline[metric])
            here, there = _gained(confirmed, metric), _gained(record, metric)
            change = judge(metric, here[: len(there)], there)
        found.append(AtOtherRate(record["lr"], gain, change))
    return tuple(found)


def _gained(record: Mapping[str, Any], metric: str) -> list[float]:
    chosen, baseline = (_numbers(record[name])[metric] for name in ("chosen", "baseline"))
    return [without - given for given, without in zip(chosen, baseline, strict=True)]
