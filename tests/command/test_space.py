"""Hydra's sweep syntax as axes: decimal-exact, typed, checked."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sweep.command.space import read_axis
from sweep.errors import BadInput


def axis(text, default=0.0):
    key, _, _ = text.partition("=")
    return read_axis(key, OverridesParser.create().parse_override(text), default)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("range(0,0.9,0.1)", "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8"),
        ("range(0,0.9,0.3)", "0.0 0.3 0.6"),
        ("range(0.9,0,-0.3)", "0.9 0.6 0.3"),
        ("range(0.05,0.35,0.1)", "0.05 0.15 0.25"),
        ("0,0.1,0.2", "0.0 0.1 0.2"),
        ("0.5,0.1,0.5", "0.5 0.1"),
        ("choice(0.1,0.7)", "0.1 0.7"),
        ("0.3", "0.3"),
    ],
)
def test_lists_hold_what_was_typed(text, typed):
    assert " ".join(map(repr, axis(f"dropout={text}").values)) == typed


def test_interval_and_log():
    rates = axis("dropout=interval(0,0.8)")
    assert (rates.low, rates.high, rates.log, rates.values) == (0.0, 0.8, False, ())
    lr = axis("train.lr=tag(log,interval(1e-4,1e-2))", 1e-3)
    assert (lr.low, lr.high, lr.log) == (1e-4, 1e-2, True)


def test_integers_stay_integers():
    widths = axis("model.width=64,128", 256)
    assert widths.values == (64, 128)
    width = axis("model.width=interval(64,512)", 256)
    assert (width.low, width.high) == (64, 512) and isinstance(width.low, int)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dropout=1.5", "dropout=1.5: a rate must be at least 0 and below 1"),
        ("dropout=1.0", "below 1"),
        ("dropout=-0.1", "at least 0"),
        ("dropout=nan", "finite"),
        ("dropout=inf", "finite"),
        ("dropout=0,5", "use a point"),
        ("dropout='0.5'", "must be a number"),
        ("dropout=true", "must be a number"),
        ("dropout=interval(0.6,0.1)", "must be below the second"),
        ("dropout=interval(0.1,0.1)", "must be below the second"),
        ("dropout=interval(0,1)", "below 1"),
        ("dropout=tag(log,interval(0,0.5))", "above 0"),
        ("dropout=tag(lin,interval(0.1,0.5))", "'lin' is unknown"),
        ("dropout=tag(log,choice(0.1,0.5))", "intervals only"),
        ("dropout=range(0,0.5,0)", "step"),
        ("dropout=range(0.5,0,0.1)", "no value"),
        ("dropout=range(0,0.9)", "the step must divide the range"),
        ("dropout=range(0,0.5,0.2)", "the last value of range(0, 0.6, 0.2) is 0.4"),
        ("dropout=shuffle(0.1,0.2)", "shuffle"),
        ("dropout=glob(*)", "glob"),
        ("train.lr=0,0.1", "train.lr=0.0: must be above 0"),
        ("train.weight_decay=-1", "must be 0 or more"),
    ],
)
def test_bad_values_are_refused(text, complaint):
    with pytest.raises(BadInput) as caught:
        axis(text)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_only_whole_numbers_for_integers_and_only_numbers_at_all():
    with pytest.raises(BadInput, match="whole number"):
        axis("model.width=64.5,128", 256)
    with pytest.raises(BadInput, match="only numbers"):
        axis("model.activation=relu,gelu", "relu")
