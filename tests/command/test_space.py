"""Hydra's sweep syntax as axes: decimal-exact, typed, checked."""

from decimal import Decimal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep

from sweep.command.space import exact_range, read_axis
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
        ("range(0.3,step=0.1)", "0.0 0.1 0.2"),
        ("range(start=0.1,stop=0.7,step=0.2)", "0.1 0.3 0.5"),
        ("float(range(0,1))", "0.0"),
        ("float(choice(0,0.5))", "0.0 0.5"),
        ("sort(0.2,0.1)", "0.1 0.2"),
        ("sort(range(0.3,0,-0.1))", "0.1 0.2 0.3"),
        ("sort(range(0,0.9,0.1),reverse=true)", "0.8 0.7 0.6 0.5 0.4 0.3 0.2 0.1 0.0"),
        ("sort(choice(0.2,0.3,0.1),reverse=true)", "0.3 0.2 0.1"),
    ],
)
def test_lists_hold_what_was_typed(text, typed):
    assert " ".join(map(repr, axis(f"dropout={text}").values)) == typed


def test_decimals_which_hydra_1_4_makes_of_a_range_that_it_sorts():
    given = [Decimal(number) for number in ("0.1", "0.35", "0.1")]
    assert exact_range("dropout", RangeSweep(set(), *given)) == [0.1, 0.2, 0.3]


def test_interval_and_log():
    rates = axis("dropout=interval(0,0.8)")
    assert (rates.low, rates.high, rates.log, rates.values) == (0.0, 0.8, False, ())
    lr = axis("train.lr=tag(log,interval(1e-4,1e-2))", 1e-3)
    assert (lr.low, lr.high, lr.log) == (1e-4, 1e-2, True)


@pytest.mark.parametrize(
    "text", ["interval(1,8)", "int(interval(1,8))", "int(interval(1.0,8.0))", "interval(1.0,8.0)"]
)
@pytest.mark.parametrize("log", [False, True])
def test_intervals_of_whole_numbers_however_they_are_cast(text, log):
    for typed in (f"tag(log, {text})", f"int(tag(log,{text}))") if log else (text, f"tag({text})"):
        width = axis(f"model.width={typed}", 256)
        assert (width.low, width.high, width.log) == (1, 8, log) and isinstance(width.low, int)


def test_integers_stay_integers():
    widths = axis("model.width=64,128", 256)
    assert widths.values == (64, 128)
    assert axis("model.width=range(1,10,step=2)", 256).values == (1, 3, 5, 7, 9)
    assert axis("model.width=range(10,1,-4)", 256).values == (10, 6, 2)
    assert axis("model.width=int(choice(16.5,32))", 256).values == (16, 32)
    assert axis("model.width=int(range(16,64,16))", 256).values == (16, 32, 48)
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
        ("dropout=shuffle(range(0,0.5,0.1))", "shuffle"),
        ("dropout=glob(*)", "glob"),
        ("model.width=range(1,10,2.5)", "the last value of range(1, 11.0, 2.5) is 8.5"),
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
