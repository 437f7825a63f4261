"""Successive halving against the same study without it."""

import math

import pytest
import torch
from optuna.trial import TrialState

from sweep.errors import BadInput
from sweep.jobs.halving import rungs, survivors
from tests.conftest import load_study
from tests.engine.test_population import population, setting

EPOCHS = ["train.epochs=8", "study.n_trials=8"]


def test_the_better_half_stays_and_so_does_the_rate_0():
    trials = [{"dropout": rate} for rate in (0.0, 0.1, 0.2, 0.3, 0.4)]
    assert survivors(trials, [9.0, 3.0, math.nan, 1.0, 2.0]) == [0, 3, 4]
    assert survivors([*trials[:1], {"dropout": 0.0, "model.input_dropout": 0.1}], [1, 2]) == [0, 1]
    assert (rungs(10), rungs(2), rungs(1)) == ({3, 5}, {1}, set())


def test_who_stays_goes_on_as_if_nobody_had_left(digits):
    settings = [setting(rate, lr) for rate in (0.0, 0.3, 0.6) for lr in (1e-3, 3e-3)]
    whole, halved = (population(settings, [0, 1], schedule="cosine", epochs=4) for _ in range(2))
    for epoch in range(4):
        for members in (whole, halved):
            members.train_epoch(digits.train, epoch)
        if epoch == 1:
            halved.select([1, 4, 5])
    losses = whole.evaluate(digits.val)["loss"].view(6, 2)[[1, 4, 5]]
    kept = halved.evaluate(digits.val)["loss"].view(3, 2)
    torch.testing.assert_close(kept, losses, rtol=0, atol=1e-10)


def test_halved_study_keeps_the_values_of_a_whole_one(sweep):
    whole = load_study(sweep(*EPOCHS)).trials
    folder = sweep(*EPOCHS, "study.prune=halving")
    halved = load_study(folder).trials
    left = [t for t in whole if t.params["dropout"] > 0]
    for epoch in (2, 4):
        gone = sorted(left, key=lambda t: t.intermediate_values[epoch])[math.ceil(len(left) / 2) :]
        left = [t for t in left if t not in gone]
        for number in (t.number for t in gone):
            assert halved[number].state == TrialState.PRUNED
            assert max(halved[number].intermediate_values) == epoch
            assert halved[number].user_attrs["reason"] == f"halved away at epoch {epoch}"
    for trial in (*left, whole[0]):
        assert halved[trial.number].state == TrialState.COMPLETE
        assert halved[trial.number].value == pytest.approx(trial.value, rel=1e-4)
    assert "halving gave up 5 of 8 trials" in (folder / "report.md").read_text()


def test_next_generation_lies_around_what_was_left(sweep):
    n = ["study.n_trials=16", "study.generation=8"]
    trials = load_study(sweep(*n, *EPOCHS[:1], "study.prune=halving")).trials
    left, gone = (
        [t.params["dropout"] for t in trials[:8] if t.state == state]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    )
    zero, *second = (t.params["dropout"] for t in trials[8:])
    assert zero == 0 and len(left) >= 2 and gone
    for rate in second:  # no nearer to what was given up than to what was left
        near, far = (min(abs(rate - one) for one in some) for some in (left, gone))
        assert near <= far + 1e-9


def test_a_generation_cut_in_parts_is_refused(sweep):
    with pytest.raises(BadInput, match=r"train\.fuse: must be auto, as study\.prune=halving"):
        sweep("study.prune=halving", "train.epochs=4", "train.fuse=4")
