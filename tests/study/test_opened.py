"""Whose study it is: one process runs it, and only the same command continues it."""

import multiprocessing
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from sweep import report
from sweep.errors import BadInput, Unreachable
from sweep.study.lock import folder_lock
from tests.conftest import job_folders, load_study, values


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


def test_a_process_that_lives_on_does_not_hold_a_study(tmp_path):
    fork = multiprocessing.get_context("fork")
    with folder_lock(tmp_path / "owner", "mine"):
        left = fork.Process(target=time.sleep, args=(60,))
        left.start()
    with folder_lock(tmp_path / "owner", "mine"):
        assert left.is_alive()
    left.kill()
    left.join()


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


def told(study):
    study.tell(study.ask(), 1.0)


def failed(study):
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)


def queued(study):
    study.enqueue_trial({"dropout": 0.1})


def asked(study):
    study.ask({"dropout": optuna.distributions.FloatDistribution(0, 0.5)})


def added(study):
    space = {"dropout": optuna.distributions.FloatDistribution(0, 0.5)}
    study.add_trial(optuna.create_trial(params={"dropout": 0.1}, distributions=space, value=1.0))


def copied(study):
    """Another study's trial, with the attributes of ours but not of this version."""
    trial = study.trials[0]
    trial.user_attrs["trained"] = {"seeds": trial.user_attrs["trained"]["seeds"]}
    study.add_trial(trial)


def fewer_attributes(study):
    study.set_user_attr("baselines:0", [{"params": {"dropout": 0.0}}])


def other_space(study):
    study.set_user_attr("fingerprint", {**study.user_attrs["fingerprint"], "space": None})


def other_confirmation(study):
    study.set_user_attr("confirmation", {"seeds": [1]})


def deleted(study):
    with closing(sqlite3.connect(database_of(study))) as database:
        database.execute("DELETE FROM trials WHERE number = 0")
        database.commit()


def better(study):
    with closing(sqlite3.connect(database_of(study))) as database:
        database.execute("UPDATE trial_values SET value = value - 1 WHERE trial_id = 1")
        database.commit()


def elsewhere(study):
    with closing(sqlite3.connect(database_of(study))) as database:
        database.execute("UPDATE trial_params SET param_value = 1 - param_value")
        database.commit()


def a_number(key):
    def set_to_a_number(study):
        study.set_user_attr(key, 5)

    set_to_a_number.__name__ = key
    return set_to_a_number


def database_of(study):
    return study._storage._backend.engine.url.database


TOUCHED = {
    deleted: "its trial 0 was deleted by another program",
    elsewhere: "its trial 0 was changed by another program",
    better: "its trial 0 was changed by another program",
    **{
        a_number(key): f"its attribute {key} was changed by another program"
        for key in ("fingerprint", "config", "warnings", "versions", "sources", "guess")
    },
    told: "its trial 2 was told by another program",
    failed: "its trial 2 was told by another program",
    queued: "its trial 2 was begun by another program",
    asked: "its trial 2 was begun by another program",
    added: "its trial 2 was told by another program",
    copied: "its records cannot be read (KeyError: 'metrics')",
    fewer_attributes: "its records cannot be read (KeyError: 'seeds')",
    other_confirmation: "its records cannot be read (KeyError: 'chosen')",
    other_space: "its records cannot be read (AttributeError",
}


@pytest.mark.parametrize("touch", TOUCHED)
def test_a_study_that_others_wrote_in_is_told_and_made_again(sweep, touch):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before, jobs = values(folder), job_folders(folder)
    touch(load_study(folder))
    for again in (
        lambda: sweep("dropout=0.0,0.2", "study.name=mine"),
        lambda: report.report_again([str(folder)]),
    ):
        with pytest.raises(BadInput) as error:
            again()
        assert f"study.name=mine: {TOUCHED[touch]}" in str(error.value)
        assert f"remove {folder}/study.db and the same command makes it again" in str(error.value)
    (folder / "study.db").unlink()  # as it was told
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert values(folder) == before and job_folders(folder) == jobs
    assert report.report_again([str(folder)]) == 0


def garbage(path):
    path.write_bytes(b"no database" * 1000)


def of_another_optuna(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99'")
        database.commit()


def without_tables(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE trials")
        database.commit()


@pytest.mark.parametrize("damage", [garbage, of_another_optuna, without_tables])
def test_a_database_that_is_damaged_is_made_again(sweep, damage):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before, jobs = values(folder), job_folders(folder)
    damage(folder / "study.db")
    advice = f"remove {folder}/study.db and the same command makes it again from {folder}/jobs"
    with pytest.raises(Unreachable, match=advice):
        sweep("dropout=0.0,0.2", "study.name=mine")
    if damage is not without_tables:  # which the report takes for a study that has just begun
        with pytest.raises(Unreachable, match=advice):
            report.report_again([str(folder)])
    (folder / "study.db").unlink()
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert values(folder) == before and job_folders(folder) == jobs


def test_a_database_of_another_study_is_not_reported_as_this_one(sweep):
    other = sweep("dropout=0.0,0.3", "study.name=other")
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before = (folder / "trials.csv").read_text()
    shutil.copy(other / "study.db", folder / "study.db")
    with pytest.raises(BadInput, match="mine: the jobs in it are not of the study other"):
        report.report_again([str(folder)])
    with pytest.raises(BadInput, match="give a study's folder"):
        report.report_again([])
    assert (folder / "trials.csv").read_text() == before


def test_a_study_that_maximises_is_no_report(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("UPDATE study_directions SET direction = 'MAXIMIZE'")
        database.commit()
    with pytest.raises(BadInput, match="minimises no single number"):
        report.report_again([str(folder)])


def test_what_a_report_lacks_is_put_back_by_the_command(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    study = load_study(folder)
    with sqlite3.connect(folder / "study.db") as database:
        for key in ("config", "guess", "sources", "versions", "warnings"):
            row = "study_id = (SELECT study_id FROM studies WHERE study_name = 'mine')"
            database.execute(f"DELETE FROM study_user_attributes WHERE key = '{key}' AND {row}")
    assert set(study.user_attrs) & {"config", "guess"} == set()
    with pytest.raises(BadInput, match="lacks the attribute config; its command, given again"):
        report.report_again([str(folder)])
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert report.report_again([str(folder)]) == 0


@pytest.mark.parametrize(("key", "value"), [("config", {}), ("guess", {"val_loss": "x"})])
def test_what_a_report_cannot_read_is_told(sweep, key, value):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    load_study(folder).set_user_attr(key, value)
    advice = f"remove {folder}/study.db and the same command makes it again"
    with pytest.raises(BadInput, match=f"mine: its records cannot be read .*{advice}"):
        report.report_again([str(folder)])
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert report.report_again([str(folder)]) == 0


def test_a_report_writes_in_no_database(sweep, tmp_path):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    theirs, empty = tmp_path / "theirs" / "study.db", tmp_path / "empty" / "study.db"
    for path in (theirs, empty):
        path.parent.mkdir()
        path.touch()
    with closing(sqlite3.connect(theirs)) as database:
        database.execute("CREATE TABLE cats (name TEXT)")
        database.commit()
    before = theirs.read_bytes()
    for arguments in (
        [str(folder), f"study.storage=sqlite:///{tmp_path}/nope.db"],
        [str(theirs.parent)],
        [str(empty.parent)],
    ):
        with pytest.raises(BadInput, match=r"^study\.storage=sqlite:///.*: holds no studies$"):
            report.report_again(arguments)
    assert theirs.read_bytes() == before and not empty.stat().st_size
    assert not (tmp_path / "nope.db").exists() and len(list(theirs.parent.iterdir())) == 1


def test_a_study_behind_an_uri_of_sqlite_is_reported(sweep, tmp_path):
    url = f"sqlite:///file:{tmp_path}/team.db?uri=true"
    folder = sweep("dropout=0.0,0.2", "study.name=mine", f"study.storage='{url}'")
    assert report.report_again([str(folder), f"study.storage={url}"]) == 0


def test_a_renamed_folder_may_hold_studies_of_other_programs(sweep, tmp_path, capsys):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    optuna.create_study(storage=f"sqlite:///{folder}/study.db", study_name="theirs")
    folder.rename(tmp_path / "theirs")
    capsys.readouterr()
    assert report.report_again([str(tmp_path / "theirs")]) == 0
    assert "mine" in capsys.readouterr().out


def test_a_study_without_its_fingerprint_comes_back(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before, jobs = values(folder), job_folders(folder)
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("DELETE FROM study_user_attributes WHERE key = 'fingerprint'")
        database.commit()
    for again in (
        lambda: sweep("dropout=0.0,0.2", "study.name=mine"),
        lambda: report.report_again([str(folder)]),
    ):
        with pytest.raises(BadInput, match=f"remove {folder}/study.db and the same command makes"):
            again()
    (folder / "study.db").unlink()
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert values(folder) == before and job_folders(folder) == jobs


def test_a_study_of_another_version_is_told(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    study = load_study(folder)
    study.set_user_attr("fingerprint", {**study.user_attrs["fingerprint"], "records": 1})
    for again in (
        lambda: sweep("dropout=0.0,0.2", "study.name=mine"),
        lambda: report.report_again([str(folder)]),
    ):
        with pytest.raises(BadInput, match="mine: was begun with another version of this program"):
            again()
