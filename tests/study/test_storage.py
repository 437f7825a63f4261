"""A database is made whole, and one that breaks makes no trial more."""

import sqlite3
from contextlib import closing

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from sweep.study.storage import create_database
from tests.conftest import load_study, values


def test_a_storage_that_breaks_after_it_has_written_makes_no_trial_more(sweep, monkeypatch):
    command = ["study.n_trials=6", "study.generation=3"]
    whole = values(sweep(*command, "study.name=whole"))
    real, calls = RDBStorage._create_new_trial, []

    def breaking(*args, **kwargs):
        answer = real(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("COMMIT", {}, Exception("the connection broke"))
        return answer

    monkeypatch.setattr(RDBStorage, "_create_new_trial", breaking)
    folder = sweep(*command, "study.name=broken")
    assert values(folder) == whole and len(calls) > 2
    assert all(t.state == TrialState.COMPLETE for t in load_study(folder).trials)


def schema(path):
    with closing(sqlite3.connect(path)) as database:
        return {sql for (sql,) in database.execute("SELECT sql FROM sqlite_master")}


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 13])
def test_a_database_is_there_whole_or_not_at_all(tmp_path, n):
    whole, path, statements = tmp_path / "whole.db", tmp_path / "study.db", []
    create_database(whole)

    def strike(connection, cursor, statement, *_):
        statements.extend([statement] if statement.strip().startswith("CREATE") else [])
        if len(statements) == n:
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", strike)
    with pytest.raises(KeyboardInterrupt):
        create_database(path)
    event.remove(Engine, "before_cursor_execute", strike)
    assert not path.exists()
    create_database(path)
    assert schema(path) == schema(whole) and len(schema(whole)) > 12
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []
