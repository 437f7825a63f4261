"""Real digits, and the command run inside the test's process."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: threads would be in their way
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from torch import nn

from sweep.command.flags import Places
from sweep.command.program import multirun
from sweep.engine import workers
from sweep.engine.noise import Noise
from sweep.engine.site import Alone, Sites
from sweep.jobs.results import Results
from sweep.workload.data import Data, load_data

MNIST5K = {
    "_target_": "sweep.workload.digits.mnist5k",
    "n_train": 1000,
    "n_val": 500,
    "split_seed": 0,
}
TINY = ["data=mnist5k", "data.n_train=200", "data.n_val=100", "model.width=16", "train.epochs=2"]
DEVICE = torch.device(os.environ.get("TEST_DEVICE", "cpu"))  # scripts/gpu_check.py sets cuda
TINY += ["study.seeds=2", "study.confirm=false", f"train.device={DEVICE}"]


@pytest.fixture(scope="session")
def digits() -> Data:
    return load_data(MNIST5K).to(DEVICE, torch.float64)


@pytest.fixture(scope="session")
def digits32() -> Data:
    return load_data(MNIST5K).to(DEVICE)


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Return a function that runs a tiny sweep as the command would, and gives its only study.

    All is as for a user but for the pictures, which would take a third of the time.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.show.figure.draw_panels", lambda answer, path: None)
    monkeypatch.setattr("sweep.show.figure.panel_image", lambda answer, panel: b"")

    def run(*overrides: str) -> Path:
        from sweep.jobs.job import run_job as job

        given = {override.split("=")[0] for override in overrides}
        groups = {f"{key}." for key in given & {"model", "data"}}  # whose numbers are others
        mine = [o for o in TINY if o.split("=")[0] not in given]
        mine = [o for o in mine if not o.startswith(tuple(groups))]
        multirun(job, [*mine, *overrides], Places(), log=False)
        studies = sorted((tmp_path / "runs").iterdir(), key=os.path.getmtime)
        return studies[-1]

    return run


@pytest.fixture
def set_threads():
    """Give torch's own function; the number of threads is put back."""
    n = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(n)


@pytest.fixture
def no_fork_is_left(monkeypatch):
    """See that each process that trains a part of a population has ended in the end."""
    real, pids = workers.fork, []

    def fork(*args):
        process = real(*args)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(workers, "fork", fork)
    yield
    for pid in pids:
        with pytest.raises(ChildProcessError):  # it was waited for
            os.waitpid(pid, os.WNOHANG)


def load_study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/study.db")


def values(folder):
    """Everything that must survive a stop: (number, params, value, curve) of each trial."""
    trials = load_study(folder).trials
    return [(t.number, t.params, t.value, t.intermediate_values) for t in trials]


def job_folders(folder):
    """Return the numbers of a study's jobs."""
    return Results(folder / "jobs", "").numbers()


def sites(members, keys, train):
    """Return what went into and came out of each nn.Dropout, {path: (in, out)}, each (K, B, units).

    Each member is taken out of its population as a plain model; keys (S,) are those of the step.
    """
    x = torch.rand(64, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x.to(DEVICE)
    seen = {}
    for k in range(members.n_members):
        model, noise = members.engine.member(k).train(train), Noise()
        noise.begin(keys[None, k % len(keys), None].to(DEVICE))
        for path, module in model.named_modules():
            if isinstance(module, nn.Dropout):
                module.register_forward_hook(
                    lambda module, ins, out, path=path: seen.setdefault(path, []).append(
                        (ins[0].detach(), out.detach())
                    )
                )
        with Sites(Alone(noise)):
            model(x)
    return {path: tuple(map(torch.stack, zip(*each, strict=True))) for path, each in seen.items()}
