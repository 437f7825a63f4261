"""find: the command from Python. Its oracle is the command itself, on the same samples."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import nn
from torch.utils.data import TensorDataset

from sweep import find
from sweep.engine.population import Population
from sweep.errors import BadInput
from sweep.places import HOUSE
from tests.conftest import DEVICE, job_folders, values
from tests.workload import tasks

TINY = ["train.epochs=2", "train.batch_size=16", "study.seeds=2", f"train.device={DEVICE}"]
QUICK = [*TINY, "study.confirm=false"]


class Net(nn.Module):
    def __init__(self, dropout, input_shape, n_classes, width=8):
        super().__init__()
        size = input_shape[0]
        parts = nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, n_classes)
        self.net = nn.Sequential(*parts)

    def forward(self, x):
        return self.net(x)


def cancer(split):
    return tasks.cancer(SimpleNamespace(integers=True), split)


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Return `find` on three splits of a data set, in an empty folder and without pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.show.figure.draw_panels", lambda answer, path: None)
    monkeypatch.setattr("sweep.show.figure.panel_image", lambda answer, panel: b"")
    splits = {split: cancer(split) for split in ("train", "val", "test")}
    given = {**splits, "dropout": [0.0, 0.5], "overrides": QUICK}
    return lambda model=Net, **more: find(model, **{**given, **more})


def folders(tmp_path):
    return sorted(folder for folder in (tmp_path / "runs").glob("[!.]*"))


def the_folder(tmp_path):
    (folder,) = folders(tmp_path)
    return folder


def test_it_is_the_study_of_the_command(ask, sweep, tmp_path):
    ask(overrides=TINY)
    mine = the_folder(tmp_path)
    for group, lines in (
        ("model", {"_target_": "tests.test_find.Net", "width": 8}),
        ("data", {"_target_": "tests.workload.tasks.cancer", "integers": True}),
    ):
        file = tmp_path / "conf" / group / "same.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(lines))
    theirs = sweep("model=same", "data=same", "dropout=0.0,0.5", "study.confirm=true", *TINY)
    assert theirs != mine and values(theirs) == values(mine)
    answers = [json.loads((folder / "answer.json").read_text()) for folder in (mine, theirs)]
    assert answers[0]["warnings"] == answers[1]["warnings"]
    assert answers[0]["confirmation"] == answers[1]["confirmation"]
    assert answers[0]["config"]["model"]["width"] == 8


def test_the_same_call_trains_nothing_and_answers_again(ask, tmp_path, monkeypatch, capsys):
    first = ask()
    told = capsys.readouterr().out
    assert "Use dropout: " in told and "the search cannot tell any rate from the best" in told
    monkeypatch.setattr(Population, "train_epoch", lambda *args: pytest.fail("trains again"))
    assert ask() == first
    assert capsys.readouterr().out == told
    (file,) = (tmp_path / "runs" / ".arrays").iterdir()
    assert file.stem == first.config["data"]["sha256"]


def test_what_a_program_has_compiled_stays_compiled(ask):
    graphs = []
    double = torch.compile(lambda x: 2 * x, backend=lambda graph, _: graphs.append(1) or graph)
    with torch.compiler.set_stance("default"):  # which other tests may have changed
        ask()
        assert torch.equal(double(torch.ones(2)), torch.full((2,), 2.0)) and graphs == [1]


def test_what_an_answer_has_for_a_notebook(ask, tmp_path):
    answer = ask()
    assert answer.rate == answer.use["dropout"] and set(answer.set) <= {0.0, 0.5}
    assert answer.verdict is None and answer.gain is None and isinstance(answer.warnings, tuple)
    assert {row.rate for row in answer.trials} == {0.0, 0.5}
    text = answer.to_csv(tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == text
    assert text == (the_folder(tmp_path) / "trials.csv").read_text()
    assert str(answer).startswith("Use dropout: ") and "noise tax" in answer._repr_markdown_()
    assert len(answer.plot().axes) == 3


def test_other_processes_read_the_arrays_from_their_file(ask, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    ask()
    one = the_folder(tmp_path)
    ask(overrides=[*QUICK, "study.name=jobs", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    for mine, theirs in zip(values(one), values(tmp_path / "runs" / "jobs"), strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[3] == pytest.approx(theirs[3], rel=1e-5)


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ({"overrides": "train.epochs=2"}, "overrides: must be a list of texts"),
        ({"overrides": ["train.epoch=2"]}, "train.epoch=2: there is no train.epoch; did you mean"),
        ({"overrides": ["train.epochs=2,3"]}, "find answers for one study; these settings make 2"),
        ({"overrides": ["model.wdith=3"]}, "model.wdith=3: unknown to Net"),
        ({"overrides": ["model=cnn"]}, "model=cnn: model is given twice"),
        ({"overrides": ["hydra.mode=RUN"]}, "hydra.mode=RUN: a study is a multirun"),
        ({"overrides": ["train.lr="]}, "train.lr"),
        ({"dropout": (0, 0.5, 1)}, "dropout=(0, 0.5, 1): must be (low, high), or a list of rates"),
        ({"dropout": [0.5, 1.0]}, "dropout=1.0: a rate must be at least 0 and below 1"),
        ({"dropout": []}, "dropout=[]: must hold at least one rate"),
        ({"dropout": True}, "dropout=True: must be a number"),
        ({"data": "mnist5k"}, "data=mnist5k: data is given twice"),
        ({"train": None}, "train: must be (inputs, targets) or a map-style Dataset of such pairs"),
        ({"train": [1, 2]}, "train: must be (inputs, targets)"),
        ({"train": ([[1.0]], np.zeros(1))}, "find: inputs of 'train' must be a tensor or an array"),
        ({"train": (np.zeros((3, 2), "float32"), np.zeros(3, int)), "val": None}, "train: has 3"),
        ({"test": (np.zeros((3, 2), "float32"), np.zeros(3, int))}, "find: inputs of 'train' are"),
        ({"model": "nothing"}, "model=nothing: must be one of cnn, gpt, mlp"),
        ({"model": "no.such.Net"}, "model._target_=no.such.Net: cannot be imported"),
        ({"model": dict}, "model._target_=builtins.dict: must be a subclass of torch.nn.Module"),
        ({"model": Net(0.1, (2,), 2)}, "model: must be a class, which is built for each rate"),
        ({"model": nn.Linear}, "Linear: needs in_features, out_features"),
        ({"loss": "mean"}, "train.loss=mean: must be one of"),
        ({"loss": 3}, "loss: must be a function"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(mistake, line, ask, tmp_path):
    with pytest.raises(BadInput) as caught:
        ask(**mistake)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ and len(caught.traceback) == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dropout", "rates"),
    [
        (np.linspace(0, 0.5, 3), [0, 0.25, 0.5]),
        (0.25, [0.25]),
        ("range(0,0.6,0.2)", [0, 0.2, 0.4]),
        ((0, 0.7), [0, 0.7]),
    ],
)
def test_the_ways_to_say_which_rates(dropout, rates, ask, tmp_path):
    more = ["study.n_trials=2", "study.generation=2"] if isinstance(dropout, tuple) else []
    ask(dropout=dropout, overrides=[*QUICK, *more])
    assert [params["dropout"] for _, params, _, _ in values(the_folder(tmp_path))] == rates


def test_without_validation_and_test_samples(ask, tmp_path, capsys):
    answer = ask(val=None, test=None, overrides=TINY)
    told = capsys.readouterr().err
    assert "val: 68 samples, a fifth of train, as none are given" in told
    assert "test: no samples are given, so there are no test figures" in told
    names = answer.confirmation.chosen.metrics
    assert names and not any(name.startswith("test_") for name in names)
    (file,) = (tmp_path / "runs" / ".arrays").iterdir()
    (x, y), (x_val, y_val) = (torch.load(file)[split] for split in ("train", "val"))
    whole, targets = map(torch.as_tensor, cancer("train"))
    assert abs(y_val.float().mean() - targets.float().mean()) < 0.01
    assert torch.equal(torch.cat([x, x_val]).sort(0).values, whole.sort(0).values)
    ask(val=(x_val.numpy(), y_val.numpy()), train=(x, y), test=None, overrides=TINY)
    assert len(folders(tmp_path)) == 1


def test_inputs_by_name_with_a_mask(ask, tmp_path):
    def samples(split):
        return tasks.tokens(SimpleNamespace(), split)

    assert {*samples("train")[0]} == {"input_ids", "attention_mask"}
    splits = {split: samples(split) for split in ("train", "val", "test")}
    assert ask(tasks.Bert, **splits).trials


def test_datasets_and_a_loss_of_ones_own(ask, tmp_path):
    x, y = map(torch.as_tensor, cancer("train"))
    weights = torch.tensor([1.0, 2.0])

    def weighted(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, weights, reduction="none")

    one = ask(train=TensorDataset(x, y), loss=weighted)
    assert one.study == ask(train=(x, y), loss=weighted).study
    weights = torch.tensor([1.0, 3.0])
    assert ask(loss=weighted).study != one.study


@pytest.mark.parametrize("overrides", [["model.width=4"], ["model.width=4,8"]])
def test_numbers_of_a_class_that_takes_one_config(overrides, ask, tmp_path):
    class Own(Net):
        def __init__(self, config):
            super().__init__(config.dropout, config.input_shape, config.n_classes, config.width)

    answer = ask(Own, overrides=[*QUICK, *overrides])
    given = {row.params.get("model.width") for row in answer.trials}
    assert given == ({None} if overrides == ["model.width=4"] else {4, 8})
    assert answer.config["model"]["width"] == 4


def test_in_a_thread_beside_hydra_of_ones_own(ask, tmp_path):
    found, before = [], logging.getLogger().handlers[:]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "app.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(tmp_path / "theirs"), version_base="1.4", job_name="app"):
        theirs = GlobalHydra.instance().hydra
        thread = threading.Thread(target=lambda: found.append(ask()))
        thread.start()
        thread.join()
        assert ask() == found[0]
        assert GlobalHydra.instance().hydra is theirs and compose("app").a == 1
    assert not GlobalHydra.instance().is_initialized()
    assert logging.getLogger().handlers == before


def test_importing_sweep_is_cheap():
    code = "import sys, sweep; assert 'find' in sweep.__all__; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOUSE).returncode == 0


SCRIPT = """
import numpy as np
from torch import nn
from sweep import find
{imports}

WIDTH = 8

class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(x.relu())

class Net(nn.Module):
    def __init__(self, dropout, input_shape, n_classes):
        super().__init__()
        self.first, self.last = nn.Linear(5, WIDTH), nn.Linear(WIDTH, n_classes)
        self.block = Block(dropout)

    def forward(self, x):
        return self.last(self.block(self.first(x)))

x = np.random.default_rng(0).normal(size=(100, 5)).astype("float32")
find(Net, train=(x, (x[:, 0] > 0).astype(int)), dropout=[0, 0.5], overrides={overrides})
"""


def run_script(tmp_path, *edits, imports="", overrides=()):
    script = SCRIPT.format(imports=imports, overrides=[*QUICK, *overrides])
    for before, after in edits:
        assert before in script
        script = script.replace(before, after)
    (tmp_path / "script.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(HOUSE)}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True
    )


def test_an_edited_class_of_a_script_is_another_study(tmp_path):
    def names():
        return {folder.name for folder in folders(tmp_path)}

    assert run_script(tmp_path).returncode == 0
    first = the_folder(tmp_path)
    assert job_folders(first) == [0]
    run_script(tmp_path, ("x.relu()", "x.relu()  # a comment"), imports="import json")
    assert names() == {first.name} and job_folders(first) == [0]
    for edit in (("x.relu()", "x.tanh()"), ("WIDTH = 8", "WIDTH = 9")):
        before = names()
        assert run_script(tmp_path, edit).returncode == 0
        assert len(names() - before) == 1


def test_what_a_script_imports_is_a_source(tmp_path):
    (tmp_path / "mine.py").write_text("def bend(x):\n    return x.relu()\n")
    edit, imports = ("x.relu()", "bend(x)"), "from mine import bend"
    assert run_script(tmp_path, edit, imports=imports).returncode == 0
    (tmp_path / "mine.py").write_text("def bend(x):\n    return x.tanh()\n")
    done = run_script(tmp_path, edit, imports=imports)
    assert re.search(r"BadInput: study.name=Net-arrays-\w+: mine.py has changed since", done.stderr)


def test_a_class_of_a_script_runs_in_its_process_only(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = run_script(tmp_path, overrides=["hydra/launcher=joblib"])
    line = "BadInput: hydra/launcher=joblib: its processes cannot import Net, which is in a "
    assert line in done.stderr and not (tmp_path / "runs").exists()
