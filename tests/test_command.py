"""The command as typed: exit codes, one line for a mistake, nothing written."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields

import pytest

from sweep.config import SAMPLERS, StudyConfig, TrainConfig
from tests.conftest import CONF, TINY

ROOT = CONF.parent
COMMAND = [sys.executable, "-m", "sweep.run"]


def start(folder, *arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("HYDRA_FULL_ERROR", None)
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def command(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


BAD = [
    (["dropout=1.5"], "dropout=1.5: a rate must be at least 0 and below 1"),
    (["dropout=0,5"], "use a point"),
    (["dropout=abc"], "dropout=abc"),
    (["dropout=["], "dropout=["),
    (["dropout=interval(0.6,0.1)"], "must be below the second"),
    (["droput=0.3"], "droput"),
    (["droput=0.3,0.4"], "droput"),
    (["model.wdith=64"], "wdith"),
    (["model.dropout=0.3"], "use dropout="),
    (["model=nope"], "Available options in 'model': cnn mlp rnn transformer"),
    (["model=mlp,nope"], "model/nope"),
    (["study.n_trials=0"], "study.n_trials=0: must be from 1 to 10000"),
    (["study.n_trials=1.5"], "study.n_trials=1.5"),
    (["study.name=../../x"], "study.name=../../x: must be up to 64 letters"),
    (["study.name=???"], "study.name=???"),
    (["study.name=${nosuch}"], "nosuch"),
    (["study.storage=postgres://user:secret@host/db"], "postgresql+psycopg://"),
    (["train.device=tpu"], "must be auto, cpu, cuda or cuda:<n>"),
    (["train.epochs=0"], "train.epochs=0: must be from 1 to 1000000"),
    (["train.lr=nan"], "train.lr=nan"),
    (["hydra.sweeper.n_trials=3"], "here it is study.n_trials"),
    (["hydra.mode=RUN"], "leave it out"),
    (["model.width=0", *TINY[:1]], "width must be at least 1"),
    (["model.width=abc", *TINY[:1]], "model.width=abc"),
    (["model._target_=os.system", *TINY[:1]], "subclass of torch.nn.Module"),
    (["data.n_train=9999", *TINY[:1]], "from 1 to 3000"),
    (["data.n_train=true", *TINY[:1]], "from 1 to 3000"),
    (["data.split_seed=null", *TINY[:1]], "data.split_seed=None: must be a whole number"),
    (["data._target_=os.getcwd", *TINY[:1]], "data._target_=os.getcwd: TypeError"),
    (["model.input_dropout=1", *TINY[:1]], "model.input_dropout=1: a rate must be"),
    (["model=null"], "Config group override must be a string"),
    (["+train.momentum=1"], "+train.momentum=1: keys cannot be added or taken away"),
    (["~train"], "cannot be added or taken away"),
    (["train.lr=1", "train.lr=0.1"], "train.lr is given twice"),
    (["study.each=[study.seeds]", "study.seeds=1,2"], "study.each=[study.seeds]: must be"),
    (["dropout=range(0,0.5,1e-9)"], "must be from 0 to 10000"),
    (["study.generation=1"], "study.generation=1: zoom compares"),
    (["sampler.seed=-1"], "sampler.seed=-1: must be from 0"),
    (["study.n_trials=99999999999"], "must be from 1 to 10000"),
    (["population=x"], "population=x: is the study's own"),
    (["hydra.sweep.subdir=x"], "is the study's own"),
    (["++hydra.mode=RUN"], "leave it out"),
]


@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=[b[0][0] for b in BAD])
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path, arguments, complaint):
    code, out, err = command(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("error: ") and complaint in err
    assert "secret" not in err
    assert list(tmp_path.iterdir()) == []


def test_cuda_that_is_not_there(tmp_path):
    code, out, err = command(tmp_path, "train.device=cuda:99", *TINY[:5])
    assert (code, out) == (2, "") and "train.device=cuda:99: this machine has" in err
    assert list(tmp_path.iterdir()) == []


def test_missing_data_without_a_fallback_are_exit_3(tmp_path):
    arguments = ["data.root=nowhere", "data.download=false", "data.fallback=null"]
    code, out, err = command(tmp_path, *arguments)
    assert (code, out) == (3, "")
    assert err == "error: MNIST is not in nowhere and data.download is false\n"
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_key(tmp_path):
    code, out, _ = command(tmp_path, "--help")
    assert code == 0
    shown = set(re.findall(r"[\w.]+", out))
    keys = {f"train.{f.name}" for f in fields(TrainConfig)}
    keys |= {f"study.{f.name}" for f in fields(StudyConfig)}
    data = (CONF / "data" / "mnist.yaml").read_text()
    keys |= {f"data.{key}" for key in re.findall(r"^(\w+):", data, re.M) if key != "_target_"}
    assert keys <= shown
    for group in ("data", "model"):
        assert {path.stem for path in (CONF / group).glob("*.yaml")} <= shown
    assert set(SAMPLERS) <= shown
    # and the defaults that it names are the defaults
    for config in (TrainConfig(), StudyConfig()):
        for field in fields(config):
            line = next(
                x for x in out.splitlines() if x.split()[:1] == [f"{_prefix(config)}.{field.name}"]
            )
            value = getattr(config, field.name)
            typed = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
            assert line.split()[1] == typed


def _prefix(config):
    return "train" if isinstance(config, TrainConfig) else "study"


def test_cfg_shows_what_a_job_trains(tmp_path):
    code, out, _ = command(tmp_path, "--cfg", "job")
    assert code == 0 and "_target_: models.mlp.MLP" in out and "batch_size: 128" in out


def test_a_sweep_from_the_command_line(tmp_path):
    code, out, err = command(tmp_path, "-m", "dropout=0.0,0.25", "study.name=mine", *TINY)
    assert code == 0 and "tensorboard --logdir runs" in out
    table = [line.split() for line in out.splitlines() if line.startswith("| ")]
    assert [row[1] for row in table if "-" not in row[1]] == ["rate", "0", "0.25"]
    assert "to use it: dropout:" in out and "best so far" in err and "100%" in err
    assert (tmp_path / "runs" / "mine" / "study.db").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_and_gone_on(tmp_path, number, code):
    tiny = [o for o in TINY if not o.startswith("train.epochs")]
    arguments = ["dropout=0.0,0.25", "study.name=mine", *tiny, "train.epochs=100000"]
    process = start(tmp_path, *arguments)
    events = tmp_path / "runs" / "mine" / "dropout=0.2500_trial=001"
    while not list(events.glob("*")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and time.monotonic() - begin < 10
    assert "the same command goes on from here" in err and "Traceback" not in err
