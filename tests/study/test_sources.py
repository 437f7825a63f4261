"""An edited model is another study: real files, and the command beside them."""

import hashlib
import os
import subprocess
import sys

import optuna
import pytest

from sweep.study.sources import changed_sources, study_sources
from tests.conftest import TINY
from tests.workload.test_your_own import DATA, PACKAGE, clone, write  # noqa: F401

MODEL = f"from kit.parts import units\nfrom .deep import names\n{PACKAGE}"
FILES = {
    "mine/nets.py": MODEL,  # folders without __init__.py
    "mine/deep/names.py": "import torchvision.ops as ops\n",
    "kit/parts.py": "units = 8\n",
    "mine/data.py": DATA,
    "mine/unrelated.py": "units = 9\n",
    "conf/model/tower.yaml": "_target_: mine.nets.Tower\nunits: 4\n",
    "conf/data/halves.yaml": "_target_: mine.data.read\nn: 300\n",
}


@pytest.fixture
def project(clone):  # noqa: F811
    (clone / "mine").mkdir()
    for path, text in FILES.items():
        write(clone, path, text)
    return clone


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to import from, whose modules are forgotten in the end."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__path__", "")) or str(
            getattr(sys.modules[name], "__file__", "")
        ).startswith(str(tmp_path)):
            del sys.modules[name]


def command(project, *arguments):
    tiny = [o for o in TINY if not o.startswith(("model.", "data", "study.seeds"))]
    own = ["model=tower", "data=halves", "dropout=0.0,0.5", "study.seeds=1", "study.name=mine"]
    return subprocess.run(
        [sys.executable, "-m", "sweep.run", *own, *tiny, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "owner"}


def test_what_was_edited_is_named_and_nothing_written_until_it_is_put_back(project):
    assert command(project).returncode == 0
    runs = project / "runs"
    before = contents(runs)
    edited = ["mine/nets.py", "kit/parts.py", "mine/data.py"]
    for path in edited:
        write(project, path, FILES[path] + "# another\n")
    done = command(project)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert all(f"{path} has changed" in done.stderr for path in edited)
    assert "study.name=mine" in done.stderr and "study.name=<another>" in done.stderr
    assert "unrelated" not in done.stderr and contents(runs) == before
    for path in edited:
        write(project, path, FILES[path])
    write(project, "mine/unrelated.py", "units = 10\n")
    done = command(project)
    assert done.returncode == 0 and "Use dropout: " in done.stdout


@pytest.mark.slow
def test_what_failed_whole_goes_on_once_it_is_mended(project):
    late = "if os.path.exists('runs'): raise ArithmeticError('no luck')"  # not while it is tried
    broken = MODEL.replace("super", f"import os\n        {late}\n        super", 1)
    write(project, "mine/nets.py", broken)
    done = command(project)
    assert done.returncode == 1 and "no luck" in done.stderr
    write(project, "mine/nets.py", MODEL)
    done = command(project)
    assert done.returncode == 0, done.stderr
    (trial, *_) = optuna.load_study(
        study_name="mine", storage=f"sqlite:///{project}/runs/mine/study.db"
    ).trials
    assert trial.state.name == "COMPLETE"


def test_sources_are_the_files_that_are_imported_and_versions_of_libraries(folder):
    files = {
        "zone/net.py": "import math, json\nfrom torch import nn\nfrom . import near\n"
        "class Net(nn.Module): pass\n",
        "zone/near.py": "from zone.sub import one\n",
        "zone/sub/__init__.py": "from .one import f as one\nfrom sweep import errors\n",
        "zone/sub/one.py": "def f(): import lone, yaml\ndef g(): from ...above import x\n",
        "zone/other.py": "",
        "lone.py": "import zone.net\nfrom nowhere import *\n",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_text(text)
    found = study_sources(["zone.net.Net", "sweep.workload.digits.mnist5k"])
    assert found.pop("PyYAML")
    assert found == {
        path: hashlib.sha256(text.encode()).hexdigest()
        for path, text in files.items()
        if path != "zone/other.py"
    }
    (folder / "lone.py").unlink()
    (folder / "zone/above.py").touch()
    (folder / "above.py").touch()
    (folder / "zone/near.py").write_text("import zone.other\n")
    assert changed_sources(found, study_sources(["zone.net.Net"])) == [
        "lone.py is gone",
        "zone/near.py has changed",
        "zone/other.py is new",
        "zone/sub/__init__.py is gone",
        "zone/sub/one.py is gone",
    ]


def test_a_class_named_where_it_is_not_written_is_followed(folder):
    (folder / "shop.py").write_text("from depot import make\nNet = make()\n")
    (folder / "depot.py").write_text(
        "from torch import nn\ndef make():\n  return type('Net', (nn.Module,), {})\n"
    )
    assert set(study_sources(["shop.Net"])) == {"shop.py", "depot.py"}
    assert study_sources(["torchvision.models.AlexNet"]).keys() == {"torchvision"}
    assert set(study_sources(["models.mlp.MLP", "sweep.workload.digits.mnist"])) == {
        "models/mlp.py"
    }
