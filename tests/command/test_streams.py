"""Nobody need take the output: the study is trained and its exit code says so."""

import os
import subprocess
import sys

import pytest

from sweep.places import CONF

STUDY = ["data=mnist5k", "data.n_val=100", "model.width=16", "train.epochs=2"]
STUDY += ["dropout=0.0,0.5", "study.confirm=false", "train.device=cpu"]
slow = pytest.mark.slow


def shell(folder, line):
    env = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    command = " ".join([sys.executable, "-m", "sweep.run", *STUDY, line])
    return subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}} >code"],
        cwd=folder, env=env, capture_output=True, text=True,
    ).stderr  # fmt: skip


@pytest.mark.parametrize(
    "ending",
    [
        "2>&1 | true",
        pytest.param("2>/dev/full", marks=slow),
        pytest.param("2>/dev/null | true", marks=slow),
        pytest.param(">/dev/full", marks=slow),
        pytest.param("2>&-", marks=slow),
        pytest.param(">&-", marks=slow),
        pytest.param(">&- 2>&-", marks=slow),
    ],
)
def test_both_studies_are_trained_whoever_reads(tmp_path, ending):
    err = shell(tmp_path, f"data.n_train=200,300 {ending}")
    assert "Traceback" not in err and "Exception" not in err, err
    assert (tmp_path / "code").read_text() == "0\n"
    assert len(list(tmp_path.glob("runs/*/answer.json"))) == 2


def test_help_may_be_cut_short(tmp_path):
    assert shell(tmp_path, "--help | true") == ""
    assert (tmp_path / "code").read_text() == "0\n"


def test_a_mistake_keeps_its_exit_code(tmp_path):
    assert shell(tmp_path, "study.sedes=2 2>/dev/full") == ""
    assert (tmp_path / "code").read_text() == "2\n"
