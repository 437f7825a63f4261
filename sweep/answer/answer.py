"""What a study found: which rate, how sure, is dropout worth it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from sweep.answer.best import Best
from sweep.answer.cautions import all_cautions
from sweep.answer.confirmation import AtOtherRate, Confirmation, read_confirmations
from sweep.answer.findings import Findings, Parts, rates_negligible, read_findings
from sweep.answer.gain import HELPS, HURTS, NO_EVIDENCE, Gain
from sweep.answer.row import Row, complete_rows
from sweep.command.space import Number
from sweep.work import second_metric


@dataclass(frozen=True)
class Speed:
    """How fast the networks of a study were trained, and how they were run."""

    members: int
    member_epochs_per_second: float
    ways: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Answer:
    """A study's answer, as answer.json holds it; what is not known yet is None."""

    study: str
    use: dict[str, Number]  # what to write into a config: the recommendation
    verdict: str | None  # helps | hurts | no evidence, in the searched metric
    best: Best
    early: Best  # if of each training the best epoch were kept: optimistic
    parts: Parts
    confirmation: Confirmation | None
    robustness: tuple[AtOtherRate, ...]
    warnings: tuple[str, ...]
    metric: str  # the searched one
    second_metric: str | None
    space: dict[str, str]
    trials: tuple[Row, ...]  # in Optuna's order, then the baselines
    opponent: Row | None  # the best of what was trained without dropout
    speed: Speed
    config: dict[str, Any]
    versions: dict[str, str]
    data_sha256: str

    @property
    def rate(self) -> Number:
        """The rate to use."""
        return self.use["dropout"]

    @property
    def set(self) -> tuple[Any, ...]:
        """What cannot be told from the best rate: rates, or the ends (low, high) of parts."""
        range_ = self.best.ranges["dropout"]
        return range_.islands if range_.values is None else range_.values

    @property
    def gain(self) -> Gain | None:
        """By how much the chosen point beats no dropout in the searched metric."""
        return self.confirmation.gain if self.confirmation else None

    @property
    def trained(self) -> list[Row]:
        """What was trained to its end, by rate and what else is searched."""
        return sorted(complete_rows(self.trials), key=lambda row: sorted(row.params.items()))

    def nearest_row(self) -> Row:
        """Return the trained row whose rate is nearest to the best one."""
        return min(self.trained, key=lambda row: abs(row.rate - self.best.point["dropout"]))

    @property
    def no_dropout_is_best(self) -> bool:
        """Whether the search says so, and the confirmation that dropout hurts."""
        return self.verdict == HURTS and rates_negligible(self.best.point)


def collect_answer(study: optuna.Study) -> Answer:
    """Return the answer of a study with at least one complete trial."""
    attrs, found = study.user_attrs, read_findings(study)
    confirmation, robustness = read_confirmations(attrs, found.metric)
    gain = confirmation.gain if confirmation else None
    done = complete_rows(found.rows)
    return Answer(
        study=study.study_name,
        use=_recommended(found, confirmation),
        verdict=gain.verdict if gain else None,
        best=found.best,
        early=found.early,
        parts=found.parts,
        confirmation=confirmation,
        robustness=robustness,
        warnings=(*attrs["warnings"], *all_cautions(found, confirmation, attrs)),
        metric=found.metric,
        second_metric=second_metric(done[0].metrics),
        space={axis.key: str(axis) for axis in found.axes},
        trials=found.rows,
        opponent=found.opponent,
        speed=_speed(done),
        config=attrs["config"],
        versions=attrs["versions"],
        data_sha256=attrs["fingerprint"]["data_sha256"],
    )


def _recommended(found: Findings, confirmation: Confirmation | None) -> dict[str, Number]:
    """Return the point to use: without dropout where that is not shown to be worse.

    Without evidence it is the simplest of what is as good: no dropout, if the set holds 0.
    """
    gain = confirmation.gain if confirmation else None
    if confirmation is None or gain is None or found.opponent is None:
        return dict(found.best.point)
    simplest = gain.verdict == NO_EVIDENCE and found.best.ranges["dropout"].holds(0)
    if gain.verdict == HURTS or simplest:
        return dict(found.opponent.params)
    return dict(confirmation.chosen.params if gain.verdict == HELPS else found.best.point)


def _speed(done: Sequence[Row]) -> Speed:
    members = sum(len(row.seeds) for row in done)
    time = math.fsum(len(row.seeds) / (row.member_epochs_per_second or 1.0) for row in done)
    ways = {json.dumps(row.execution, sort_keys=True): row.execution for row in done}
    return Speed(members, members / time, tuple(ways.values()))


def answer_json(answer: Answer) -> str:
    """Return answer.json; a number that is not finite is null."""
    return json.dumps(_finite(asdict(answer)), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
