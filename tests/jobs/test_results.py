"""A job's result file is whole or not there."""

import pytest

from sweep import files
from sweep.errors import Unreachable
from sweep.jobs.results import Finished, Results, write_result
from sweep.work import Trial, TrialResult, Work
from tests.conftest import values


def test_half_a_result_is_no_result(tmp_path, monkeypatch):
    (tmp_path / "0").mkdir()
    work = Work("mine", 0, [0], [Trial(0, {"dropout": 0.5})])
    end = Finished(work, [TrialResult(error="x")], 1.0)

    def torn(file):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", torn)
        with pytest.raises(OSError, match="disk full"):
            write_result(tmp_path / "0", end)
    assert Results(tmp_path, "mine").outcomes(0) == {}
    write_result(tmp_path / "0", end)
    assert Results(tmp_path, "mine").outcomes(0)[0, 0].error == "x"
    assert Results(tmp_path, "another").outcomes(0) == {}


def test_a_damaged_result_is_named(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")
    whole, path = values(folder), folder / "jobs" / "0" / "result.json"
    path.write_text(path.read_text()[:50])
    (folder / "study.db").unlink()
    with pytest.raises(Unreachable, match=r"jobs/0/result\.json: is damaged"):
        sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")
    path.unlink()
    assert values(sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")) == whole
