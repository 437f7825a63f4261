"""Dropout rates: numbers whose key ends in "dropout", at least 0 and below 1."""

from collections.abc import Mapping

from sweep.errors import require

TINY = 2.0**-40  # replaces rate 0 in building, so that `if rate > 0:` gives the same network
NOTHING = 2.0**-30  # a call at this rate or below drops nothing; in float32, 1 - TINY is 1


def is_rate(key: str) -> bool:
    """Return whether a key names a rate: dropout, model.input_dropout, model.conv_dropout."""
    return key.endswith("dropout")


def check_rate(key: str, rate: float) -> None:
    hint = "; a comma makes a list: use a point" if rate > 1 and rate == int(rate) else ""
    require(0 <= rate < 1, key, rate, f"a rate must be at least 0 and below 1{hint}")


def all_rates_zero(params: Mapping[str, float]) -> bool:
    """Return whether all rates among these numbers are 0."""
    return not any(value for key, value in params.items() if is_rate(key))


def built_rate(rate: float) -> float:
    """Return the rate that a model is built with: TINY in place of 0."""
    return max(rate, TINY)
