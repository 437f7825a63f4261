"""Under- and overfitting told apart on tables whose cause is known."""

import pytest

from sweep.answer.diagnosis import clearly_above_zero, fit, over_time

BEST = {"val_loss": {0: 0.30, 1: 0.32}, "train_loss": {0: 0.20, 1: 0.20}, "gap": {0: 0.10, 1: 0.12}}
NOISE = {"val_loss": 0.005, "train_loss": 0.005, "gap": 0.005}


def trial(train, gap):
    return {
        "val_loss": {s: BEST["val_loss"][s] + train + gap for s in (0, 1)},
        "train_loss": {s: BEST["train_loss"][s] + train for s in (0, 1)},
        "gap": {s: BEST["gap"][s] + gap for s in (0, 1)},
    }


@pytest.mark.parametrize(
    ("train", "gap", "label"),
    [
        (0.1, 0.0, "underfits"),
        (0.2, -0.1, "underfits"),
        (-0.1, 0.2, "overfits"),
        (0.05, 0.06, "overfits"),
        (0.1, -0.1, "neither"),  # fits worse, carries over better: as good
        (0.004, 0.004, "neither"),  # within the noise
        (0.0, 0.0, "neither"),
    ],
)
def test_label_is_the_larger_clear_part(train, gap, label):
    found = fit(trial(train, gap), BEST, NOISE)
    assert found.label == label
    assert (found.train_part, found.gap_part) == (pytest.approx(train), pytest.approx(gap))


@pytest.mark.parametrize("n", [2, 8])
def test_a_part_is_clear_beyond_two_standard_errors_of_a_difference(n):
    best = {metric: dict.fromkeys(range(n), 0.3) for metric in BEST}
    error = 0.005 * (2 / n) ** 0.5
    for errors, label in ((1.9, "neither"), (2.1, "underfits")):
        worse = {s: 0.3 + errors * error for s in range(n)}
        row = {"val_loss": worse, "train_loss": worse, "gap": best["gap"]}
        assert fit(row, best, NOISE).label == label


def test_the_standard_error_is_the_trials_own_where_that_is_larger():
    worse = {0: 0.30 + 0.02, 1: 0.30 + 0.08}  # 0.05 +- 0.03
    best = {metric: {0: 0.3, 1: 0.3} for metric in BEST}
    row = {"val_loss": worse, "train_loss": worse, "gap": best["gap"]}
    assert fit(row, best, NOISE).label == "neither"


def test_one_seed_without_noise_known_has_no_label():
    alone = {metric: {0: 0.1} for metric in BEST}
    assert fit(alone, alone, dict.fromkeys(BEST, 0.0)).label is None


def test_over_time_finds_the_lowest_epoch_and_the_slope():
    curve = [[1.0, 1.2], [0.5, 0.5], [0.6, 0.7], [0.7, 0.9], [0.8, 1.1]]
    found = over_time(curve)
    assert found["lowest_epoch"] == 2
    assert found["rise"] == pytest.approx([0.3, 0.6])
    assert found["slope"] == pytest.approx([0.1, 0.2])
    assert over_time([[1.0, 2.0]])["slope"] == [0.0, 0.0]


def test_clearly_above_zero():
    assert clearly_above_zero([1.0, 1.1, 0.9])
    assert not clearly_above_zero([1.0, -1.0, 0.5])
    assert not clearly_above_zero([1.0])
