"""What README promises to who brings a model or data: the files that it shows, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException

from sweep.check import read_config
from sweep.places import CONF
from tests.conftest import TINY, load_study

ROOT = CONF.parent
PACKAGE = """
from torch import nn

class Tower(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(4, config.units), nn.BatchNorm1d(config.units), nn.ReLU(),
            nn.Dropout(config.dropout), nn.Linear(config.units, config.n_classes),
        )

    def forward(self, x):
        return self.net(x)
"""
DATA = """
import torch

def read(config, split):
    generator = torch.Generator().manual_seed(["train", "val", "test"].index(split))
    inputs = torch.randn(config.n, 4, generator=generator)
    return inputs, (inputs.sum(1) > 0).long()
"""


@pytest.fixture
def clone(tmp_path):
    """A copy of the project, to add files to."""
    for name in ("conf", "hydra_plugins", "models", "sweep"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def write(folder, path, text):
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text)


def answer(folder, *arguments):
    """Run the command there; return the only answer.json."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "sweep.run", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("runs/*/answer.json")
    return json.loads(path.read_text())


def shown(path):
    """Return the block of README or docs/your_model.md that begins with the file's name."""
    text = "".join((ROOT / page).read_text() for page in ("README.md", "docs/your_model.md"))
    block = re.search(rf"```\w+\n# {re.escape(path)}\n(.*?)```", text, re.S)
    return block[1]


def test_one_file_and_one_yaml_make_a_model(clone):
    for path in ("models/wide.py", "conf/model/wide.yaml"):
        write(clone, path, shown(path))
    tiny = [o for o in TINY if not o.startswith("model.")]
    found = answer(clone, "model=wide", "model.units=16,32", "dropout=0.0,0.3", *tiny)
    assert {t["params"]["model.units"] for t in found["trials"]} == {16, 32}
    assert found["study"].startswith("wide-mnist5k-")
    assert all(t["state"] == "complete" for t in found["trials"])


def test_a_model_and_data_of_ones_own_package(clone):
    for path, text in (("mine/nets.py", PACKAGE), ("mine/data.py", DATA)):
        write(clone, path, text)
    write(clone, "conf/model/tower.yaml", "_target_: mine.nets.Tower\nunits: 8\n")
    write(clone, "conf/data/halves.yaml", "_target_: mine.data.read\nn: 300\n")
    tiny = [o for o in TINY if not o.startswith(("model.", "data", "train.epochs"))]
    search = ["dropout=0.0,0.5", "train.lr=0.03", "train.epochs=20"]
    found = answer(clone, "model=tower", "data=halves", *tiny, *search)
    assert found["study"].startswith("tower-halves-")
    assert all(t["metrics"]["val_error"]["mean"] < 0.2 for t in found["trials"])


def test_a_broken_yaml_is_one_line_with_its_file(clone):
    write(clone, "conf/model/broken.yaml", "_target_: models.mlp.MLP\nwidth: [")
    command = [sys.executable, "-m", "sweep.run", "model=broken"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "conf/model/broken.yaml" in done.stderr


def is_installed():
    try:
        return bool(version("dropout-sweep"))
    except PackageNotFoundError:
        return False


# uv run installs this project: from then on Python finds it from every folder
installed = pytest.mark.skipif(not is_installed(), reason="this project is not installed")
NET = "from tests.parts import Base\nfrom utils.sizes import two\n"
NET += PACKAGE.replace("Tower(nn.Module)", "Net(Base)")
PARTS = {
    "tests/parts.py": "from torch.nn import Module as Base\n",
    "utils/sizes.py": "two = 2\n",
}
MODELS = {  # what the user's `models` is: its files, and the path of the class in it
    "folder": ({"models/net.py": NET}, "models.net.Net"),
    "package": ({"models/__init__.py": "", "models/net.py": NET}, "models.net.Net"),
    "file": ({"models.py": NET}, "models.Net"),
}
OWN = {
    **PARTS,
    "data/mine.py": DATA,
    "conf/model/net.yaml": "_target_: models.net.Net\nunits: 8\n",
    "conf/data/mine.yaml": "_target_: data.mine.read\nn: 300\n",
    "conf/config.yaml": "defaults:\n  - another_app\n",
}
SLOW = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the user's, outside of this project."""
    for path, text in OWN.items():
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def installed_command(*arguments):
    """Run the command in this folder; nothing but its installation says where the project is."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "sweep.run", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)


@installed
@pytest.mark.parametrize(
    ("kind", "launcher"),
    [
        ("folder", "basic"),
        ("package", "basic"),
        pytest.param("file", "basic", marks=SLOW),
        pytest.param("folder", "joblib", marks=SLOW),
        pytest.param("package", "joblib", marks=SLOW),
        pytest.param("package", "submitit_local", marks=SLOW),
        pytest.param("package", "ray", marks=SLOW),
    ],
)
def test_ones_own_model_and_one_of_the_project_train_in_ones_own_folder(folder, kind, launcher):
    if launcher != "basic":
        plugin = launcher.partition("_")[0]
        pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    files, target = MODELS[kind]
    for path, text in files.items():
        write(folder, path, text)
    write(folder, "conf/model/net.yaml", f"_target_: {target}\nunits: 8\n")
    brief = ["dropout=0.0,0.5", "train.epochs=1", "study.seeds=1", "study.confirm=false"]
    launched = f"hydra/launcher={launcher}"
    done = installed_command("model=net,mlp", "data=mine", launched, *brief)
    assert done.returncode == 0, done.stderr
    net, mlp = (
        {file for path in (folder / "runs").glob(f"{name}-mine-*") for file in sources_of(path)}
        for name in ("net", "mlp")
    )
    assert net == {*files, *PARTS, "data/mine.py"}
    assert mlp - {*PARTS} == {*files, "models/mlp.py", "data/mine.py"} - {"models/net.py"}


def sources_of(study):
    return set(load_study(study).user_attrs["sources"]) - {"tests/__init__.py"}  # of this project


@installed
def test_a_typing_error_is_told_with_ones_own_names(folder):
    done = installed_command("model=nett", "data=mine")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert " net, " in done.stderr and done.stderr.endswith("did you mean net?\n")
    done = installed_command("model=net", "data=null")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not (folder / "runs").exists()


def test_ones_own_yaml_comes_before_that_of_the_project(folder):
    write(folder, "conf/model/mlp.yaml", "_target_: models.net.Net\nunits: 3\n")
    assert read_config(["model=mlp"]).model == {"_target_": "models.net.Net", "units": 3}
    assert read_config(["model=cnn"]).model["_target_"] == "models.cnn.CNN"


def test_another_app_of_hydra_sees_its_own_yaml_only(folder, tmp_path_factory):
    app = tmp_path_factory.mktemp("app")
    (app / "config.yaml").write_text("defaults:\n  - model: net\n")
    here = initialize_config_dir(str(app), version_base="1.3")
    with here, pytest.raises(MissingConfigException):
        compose("config")
