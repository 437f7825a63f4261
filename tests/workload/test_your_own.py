"""What README promises to who brings a model or data: the files that it shows, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import CONF, TINY

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
    """Return the block of README that begins with the file's name."""
    block = re.search(
        rf"```\w+\n# {re.escape(path)}\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
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
    assert all(t["val_error"]["mean"] < 0.2 for t in found["trials"])


def test_a_broken_yaml_is_one_line_with_its_file(clone):
    write(clone, "conf/model/broken.yaml", "_target_: models.mlp.MLP\nwidth: [")
    command = [sys.executable, "-m", "sweep.run", "model=broken"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "conf/model/broken.yaml" in done.stderr
