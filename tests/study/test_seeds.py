"""Seeds that are added to a finished study, against a study that had them from the start."""

import json

import pytest
from optuna.trial import TrialState

from sweep.study import seeds as added
from tests.conftest import job_folders, load_study

SEARCHES = {
    "a list": ["dropout=0.0,0.3,0.5"],
    "a list with a baseline beside": ["dropout=0.3,0.5"],
    "an interval": ["dropout=interval(0,0.8)", "study.n_trials=7", "study.generation=4"],
}


def answer_of(folder):
    return json.loads((folder / "answer.json").read_text())


def trainings(answer):
    """Return {(trial, rate, seed): validation loss} of a study's rows, and curves by rate."""
    return {
        (row["number"], row["params"]["dropout"], seed): loss
        for row in answer["trials"]
        for seed, loss in zip(row["seeds"], row["metrics"]["val_loss"]["of_seeds"], strict=True)
    }


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_seeds_added_later_are_those_of_a_study_that_had_them(sweep, search, capsys):
    folder = sweep(*search, "study.seeds=2", "study.name=grown")
    before = answer_of(folder)
    values = [trial.value for trial in load_study(folder).trials]
    sweep(*search, "study.seeds=3", "study.name=grown")
    assert "seeds are added; the values in Optuna stay" in capsys.readouterr().err
    sweep(*search, "study.seeds=5", "study.name=grown")
    after, jobs = answer_of(folder), job_folders(folder)
    assert [trial.value for trial in load_study(folder).trials] == values
    old, new = trainings(before), trainings(after)
    assert {len(row["seeds"]) for row in after["trials"]} == {5} and len(new) == 2.5 * len(old)
    assert old.items() <= new.items()
    sweep(*search, "study.seeds=5", "study.name=grown")
    assert job_folders(folder) == jobs and answer_of(folder) == after
    if "interval" in search[0]:  # whose second generation is chosen by the first one's seeds
        return
    twin = answer_of(sweep(*search, "study.seeds=5", "study.name=twin"))
    assert trainings(twin) == pytest.approx(new, rel=1e-3)
    for row, other in zip(twin["trials"], after["trials"], strict=True):
        for name in ("val_loss", "train_loss"):
            assert row["curves"][name] == pytest.approx(other["curves"][name], rel=1e-3)
        assert row["lowest_epoch"] == other["lowest_epoch"]
        assert row["noise_tax"] == pytest.approx(other["noise_tax"], abs=1e-3)
        assert row["end_slopes"] == pytest.approx(other["end_slopes"], abs=1e-3)
        assert row["half_slopes"] == pytest.approx(other["half_slopes"], abs=1e-3)


def test_event_files_of_the_first_seeds_stay(sweep):
    folder = sweep("dropout=0.0,0.3")
    first = {path: path.read_bytes() for path in folder.glob("rate */events*[0-9]")}
    sweep("dropout=0.0,0.3", "study.seeds=4")
    assert first.items() <= {p: p.read_bytes() for p in folder.glob("rate */events*[0-9]")}.items()
    assert len(list(folder.glob("rate *seeds"))) == 2


def test_a_rate_that_diverges_with_a_new_seed_has_failed(sweep, monkeypatch):
    summary = added.trained_summary
    folder = sweep("dropout=0.0,0.3,0.5")

    class Nan:
        def __init__(self, outcome):
            self.outcome = outcome

        def __getattr__(self, name):
            diverges = name == "diverged" and self.outcome.params["dropout"] == 0.3
            return 2 if diverges else getattr(self.outcome, name)

    outcomes = added.Training.outcomes

    def some_diverge(self, *args):
        return {n: Nan(o) for n, o in (yield from outcomes(self, *args)).items()}

    monkeypatch.setattr(added.Training, "outcomes", some_diverge)
    monkeypatch.setattr(
        added, "trained_summary", lambda outcome, metric: summary(outcome.outcome, metric)
    )
    sweep("dropout=0.0,0.3,0.5", "study.seeds=4")
    answer = answer_of(folder)
    states = {row["params"]["dropout"]: row["state"] for row in answer["trials"]}
    assert states == {0.0: "complete", 0.3: "fail", 0.5: "complete"}
    assert any("diverged at epoch 2, with a seed that was added" in w for w in answer["warnings"])
    assert {t.state for t in load_study(folder).trials} == {TrialState.COMPLETE}
