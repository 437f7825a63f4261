"""What a recorded confirmation says, from numbers whose gains are known."""

import math

import numpy as np
import pytest

from sweep.answer.confirmation import read_confirmation, read_robustness, samples_sem
from sweep.answer.gain import judge
from sweep.work import LOWEST

SEEDS = [10, 11, 12, 13, 14]


def point(loss, error, rate):
    losses = [loss + 0.01 * i * (-1) ** i for i in range(5)]
    return {
        "params": {"dropout": rate}, "val_loss": losses, "train_loss": losses, "test_loss": losses,
        "val_error": [error + 0.001 * i for i in range(5)], LOWEST: [x - 0.1 for x in losses],
    }  # fmt: skip


def recorded(loss=1.0, error=0.5, attempt=1):
    return {
        "attempt": attempt, "seeds": SEEDS,
        "chosen": point(1.0, 0.5, 0.3), "baseline": point(loss, error, 0.0),
    }  # fmt: skip


def test_the_second_metric_is_tested_only_after_the_first():
    for loss, first, second in ((2.0, "helps", "hurts"), (1.0, "no evidence", None)):
        found = read_confirmation(recorded(loss, error=0.1), "val_loss", twins=False)
        assert [g.metric for g in found.gains] == ["val_loss", "val_error"]
        assert [g.verdict for g in found.gains] == [first, second]
        assert found.gains[1].value == pytest.approx(-0.4)
    by_error = read_confirmation(recorded(2.0, error=0.1), "val_error", twins=False)
    assert [(g.metric, g.verdict) for g in by_error.gains] == [
        ("val_error", "hurts"), ("val_loss", "helps")
    ]  # fmt: skip


def test_a_metric_that_follows_from_the_first_has_no_verdict_of_its_own():
    found = read_confirmation(recorded(2.0, error=0.1), "val_loss", twins=True)
    assert [g.verdict for g in found.gains] == ["helps", None]


def test_points_gains_and_the_best_epochs():
    record = recorded(2.0)
    found = read_confirmation(record, "val_loss", twins=False)
    assert found.seeds == tuple(SEEDS) and found.chosen.params == {"dropout": 0.3}
    assert set(found.chosen.metrics) == {"val_loss", "train_loss", "test_loss", "val_error"}
    assert found.baseline.metrics["val_loss"].of_seeds == tuple(record["baseline"]["val_loss"])
    assert found.early == judge("val_loss", record["chosen"][LOWEST], record["baseline"][LOWEST])
    alone = read_confirmation({**record, "baseline": None}, "val_loss", twins=False)
    assert (alone.baseline, alone.gains, alone.early) == (None, (), None)


def test_an_answer_that_moved_is_tested_more_strictly():
    first, third = (
        read_confirmation(recorded(1.05, attempt=n), "val_loss", twins=False).gains[0]
        for n in (1, 3)
    )
    assert first.value == third.value and third.high - third.low >= first.high - first.low


def test_what_diverged_is_null_in_the_record():
    record = recorded(2.0)
    record["baseline"]["val_loss"][0] = record["baseline"]["val_loss"][3] = None
    found = read_confirmation(record, "val_loss", twins=False)
    assert found.gains[0].diverged == (0, 2) and found.gains[0].value == pytest.approx(1.0)
    assert len(found.baseline.metrics["val_loss"].of_seeds) == 3
    assert all(math.isfinite(x) for x in found.baseline.metrics["val_loss"].of_seeds)


def test_other_learning_rates_are_compared_on_the_same_seeds():
    here = recorded(2.0)
    there = {"lr": 0.003, "chosen": point(1.0, 0.5, 0.3), "baseline": point(2.5, 0.5, 0.0)}
    lost = {"lr": 0.1, "chosen": None, "baseline": None}
    more, none = read_robustness([there, lost], here, "val_loss")
    assert (more.lr, more.gain.value) == (0.003, pytest.approx(1.5))
    assert more.change.value == pytest.approx(0.5) and more.change.verdict == "helps"
    assert (none.gain, none.change) == (None, None)


def test_the_range_on_other_samples_holds_the_truth():
    """Gains that differ between seeds and between samples, of which the truth is 0.1."""
    rng, held, over_seeds = np.random.default_rng(0), 0, 0
    for _ in range(400):
        of_seeds, of_samples = rng.normal(0, 0.1, (5, 1)), rng.normal(0, 4.0, (1, 400))
        gains = 0.1 + of_seeds + of_samples + rng.normal(0, 0.5, (5, 400))
        record = recorded()
        record["chosen"]["test_loss"] = [0.0] * 5
        record["baseline"]["test_loss"] = gains.mean(1).tolist()
        record["samples"] = {"split": "test", "sem": {"loss": samples_sem(gains.mean(0).tolist())}}
        there = read_confirmation(record, "val_loss", twins=False).on_other_samples
        assert there.value == pytest.approx(gains.mean()) and there.split == "test"
        held += there.low <= 0.1 <= there.high
        alone = judge("test_loss", record["chosen"]["test_loss"], record["baseline"]["test_loss"])
        over_seeds += alone.low <= 0.1 <= alone.high
    assert 0.93 < held / 400 < 0.985 and over_seeds < 0.9 * held


def test_there_is_no_range_on_other_samples_if_something_diverged():
    record = recorded(2.0)
    record["samples"] = {"split": "test", "sem": {"loss": samples_sem([1.0, math.nan, 2.0])}}
    assert read_confirmation(record, "val_loss", twins=False).on_other_samples is None
