"""Whose study it is: one process runs it, and only the same command continues it."""

from pathlib import Path

import optuna
import pytest

from sweep import report
from sweep.errors import BadInput
from sweep.study.lock import folder_lock
from tests.conftest import values


def test_a_typed_name_with_another_fingerprint_is_refused(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before = values(folder)
    with pytest.raises(
        BadInput, match=r"study\.name=mine: already exists with a different train\.lr"
    ):
        sweep("dropout=0.0,0.2", "study.name=mine", "train.lr=0.01")
    with pytest.raises(BadInput, match=r"space\.dropout"):
        sweep("dropout=0.0,0.3", "study.name=mine")
    assert values(folder) == before


def test_a_second_owner_is_refused_and_a_dead_one_is_not_in_the_way(sweep, tmp_path):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    with (
        folder_lock(folder / "owner", "mine"),
        pytest.raises(BadInput, match=r"study\.name=mine: already running in process \d+ on "),
    ):
        sweep("dropout=0.0,0.2", "study.name=mine")
    assert sweep("dropout=0.0,0.2", "study.name=mine") == folder


def test_a_study_kept_elsewhere_has_one_owner_whatever_its_folder(sweep, tmp_path):
    shared = ["dropout=0.0,0.2", "study.name=mine", f"study.storage=sqlite:///{tmp_path}/team.db"]
    sweep(*shared)
    with (
        folder_lock(tmp_path / "team.db.mine.owner", "mine"),
        pytest.raises(BadInput, match=r"study\.name=mine: already running in process \d+ on "),
    ):
        sweep(*shared, "hydra.sweep.dir=others")
    sweep(*shared, "hydra.sweep.dir=others")  # it has the answer of the first one
    assert not Path("others/mine/jobs").exists()


def test_a_study_of_another_program_is_refused_and_left_as_it_is(sweep, tmp_path):
    url = f"sqlite:///{tmp_path}/theirs.db"
    theirs = optuna.create_study(storage=url, study_name="theirs")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    optuna.create_study(storage=url, study_name="upwards", direction="maximize")
    optuna.create_study(storage=url, study_name="two", directions=["minimize"] * 2)
    for name, why in (
        ("theirs", "is another program's study"),
        ("upwards", "minimises no single number"),
        ("two", "minimises no single number"),
    ):
        with pytest.raises(BadInput, match=why):
            sweep("dropout=0.0,0.2", f"study.name={name}", f"study.storage={url}")
    assert not theirs.user_attrs and len(theirs.trials) == 2
    with pytest.raises(BadInput, match="theirs: is another program's study"):
        report.report_again([str(tmp_path / "theirs"), f"study.storage={url}"])


SLOW_NAMES = [pytest.param(name, marks=pytest.mark.slow) for name in ("a#b", "$x$y", "it's {here}")]


@pytest.mark.parametrize("name", ["what?", "100%20", *SLOW_NAMES])
def test_a_folder_may_have_any_name(sweep, tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    (tmp_path / "runs").symlink_to(tmp_path / name / "runs")
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert (tmp_path / name / "runs" / "mine" / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert report.report_again([str(tmp_path / name / "runs" / "mine")]) == 0


def test_but_one_that_hydra_would_take_for_an_interpolation(sweep, tmp_path, monkeypatch):
    (tmp_path / "${x}").mkdir()
    monkeypatch.chdir(tmp_path / "${x}")
    with pytest.raises(BadInput, match=r"hydra\.sweep\.dir=.*: must not hold \$\{"):
        sweep("dropout=0.0,0.2")
    assert not list(Path.cwd().iterdir())


def test_rates_that_differ_in_the_last_digit_are_other_studies(sweep):
    assert sweep("dropout=0.1234567") != sweep("dropout=0.1234568")
