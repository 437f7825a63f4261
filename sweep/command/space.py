"""Reads Hydra's sweep syntax as the axes of a search, with exact decimals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweep.command.config import MOST_TRIALS, TrainConfig
from sweep.command.rate import check_rate, is_rate
from sweep.errors import BadInput, between, first_line

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Number = int | float


def config_section(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the numbers of one part of the config, such as "model.", without the prefix."""
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class Axis:
    """One searched key: a list of values, or all between low and high."""

    key: str
    values: tuple[Number, ...] = ()  # in the order typed; empty for an interval
    low: Number = 0
    high: Number = 0
    log: bool = False

    @property
    def ends(self) -> tuple[Number, ...]:
        """All listed values, or the two ends; if these are allowed, every value is."""
        return self.values or (self.low, self.high)

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments that make this axis, without its key."""
        return {
            "values": list(self.values),
            "low": self.low,
            "high": self.high,
            "log": self.log,
        }

    def __str__(self) -> str:
        if self.values:
            return ", ".join(f"{value:g}" for value in self.values)
        return f"[{self.low:g}, {self.high:g}]" + (" (log)" if self.log else "")

    def distribution(self, grid: bool) -> "BaseDistribution":
        """Return Optuna's distribution; listed values are categorical, but numeric in a grid."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.values and not grid:
            return CategoricalDistribution(self.values)
        low, high = min(self.ends), max(self.ends)
        if isinstance(low, int):
            return IntDistribution(low, int(high), log=self.log)
        return FloatDistribution(low, high, log=self.log)


def read_axis(key: str, override: Override, default: Any) -> Axis:
    """Read one override as an axis whose numbers have the type of the key's default."""
    if default is None and is_rate(key):  # a rate that is the same as dropout unless given
        default = 0.0
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise BadInput(f"{key}={override.get_value_string()}: only numbers can be searched")
    value = override.value()
    if isinstance(value, IntervalSweep):
        axis = _interval_axis(key, value, type(default))
    else:
        values = _listed_values(key, value)
        typed = [_typed_number(key, v, type(default)) for v in values]
        axis = Axis(key, tuple(dict.fromkeys(typed)))  # each once
    for number in axis.ends:
        _check_number(key, number)
    return axis


def _interval_axis(key: str, value: IntervalSweep, kind: type) -> Axis:
    low, high = (_typed_number(key, v, kind) for v in (value.start, value.end))
    unknown = set(value.tags) - {"log"}
    text = f"interval({low}, {high})"
    if unknown:
        raise BadInput(f"{key}={text}: tag {min(unknown)!r} is unknown; only log is allowed")
    log = "log" in value.tags
    if not low < high:
        raise BadInput(f"{key}={text}: the first number must be below the second")
    if log and low <= 0:
        raise BadInput(f"{key}={text}: with log the first number must be above 0, such as 0.001")
    return Axis(key, (), low, high, log)


def _listed_values(key: str, value: Any) -> list[Any]:
    """Return the values of a list or a range, or a single value as a list."""
    if isinstance(value, ChoiceSweep | RangeSweep):
        if value.shuffle:
            raise BadInput(
                f"{key}: shuffle is not allowed; the order of the values changes nothing"
            )
        if value.tags:
            raise BadInput(f"{key}: tag {min(value.tags)!r} is allowed on intervals only")
    if isinstance(value, Glob):
        raise BadInput(f"{key}: glob chooses among config groups, not numbers")
    if isinstance(value, ChoiceSweep):
        values: list[Any] = list(value.list)
    elif isinstance(value, RangeSweep):
        values = exact_range(key, value)
    else:
        values = [value]
    if not values:
        raise BadInput(f"{key}: the list or range holds no value")
    return values


def exact_range(key: str, value: RangeSweep) -> list[Number]:
    """Return the values of range(start, stop, step), computed in decimals; stop is exclusive.

    Hydra adds floats, which gives 0.30000000000000004 and sometimes one value too many.
    """
    given = (value.start, value.stop, value.step)
    start, stop, step = (Decimal(str(x)) for x in given)
    if not all(x.is_finite() for x in (start, stop, step)) or step == 0:
        raise BadInput(f"{key}=range({start}, {stop}, {step}): the step must be finite and not 0")
    text = f"range({start}, {stop}, {step})"
    decimals = any(isinstance(x, float) for x in given)
    if decimals and (stop - start) % step:  # many would expect the stop among the values
        end = start + math.ceil((stop - start) / step) * step
        hint = f"the last value of range({start}, {end}, {step}) is {end - step}"
        raise BadInput(f"{key}={text}: the step must divide the range; {hint}")
    n = max(0, math.ceil((stop - start) / step))
    between(f"values of {key}={text}", n, 0, MOST_TRIALS)
    return [float(start + i * step) for i in range(n)]


def _typed_number(key: str, value: Any, kind: type) -> Number:
    if isinstance(value, IntervalSweep):
        raise BadInput(f"{key}: an interval cannot be in a list")
    if isinstance(value, str) and value.startswith("${"):
        value = _resolved(key, value)
    if isinstance(value, QuotedString):
        value = value.with_quotes()
    if isinstance(value, bool | str) or value is None:
        raise BadInput(f"{key}={value}: must be a number")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{key}={value}: must be a finite number")
    if kind is int and value != int(value):
        raise BadInput(f"{key}={value}: must be a whole number")
    number: Number = kind(value)
    return number


def _check_number(key: str, number: Number) -> None:
    if is_rate(key):
        check_rate(key, number)
    elif key.startswith("train."):
        changed: dict[str, Any] = {key.removeprefix("train."): number}
        TrainConfig(**changed)


def _resolved(key: str, value: str) -> Any:
    """Return the number that an interpolation such as ${oc.env:RATE} stands for."""
    try:
        text = OmegaConf.create({"value": value}).value
        return float(text) if isinstance(text, str) else text
    except (OmegaConfBaseException, ValueError) as error:
        raise BadInput(f"{key}={value}: must be a number ({first_line(error)})") from None
