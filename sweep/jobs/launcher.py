"""Hydra's launcher of a command: how many jobs it runs in parallel, and the settings for that.

Launchers are plugins; this is the only file that tells them apart.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweep.errors import BadInput, Unreachable, between, first_line, require
from sweep.stop import sigterm_kept

LOCAL = ("basic", "joblib", "submitit_local")
NAMES = {  # of what Hydra's plugins call their classes, whatever a config file is called
    "BasicLauncher": "basic",
    "JoblibLauncher": "joblib",
    "LocalLauncher": "submitit_local",
    "SlurmLauncher": "submitit_slurm",
    "RayLauncher": "ray",
}
# of submitit's own processes, which hear the terminal's Ctrl-C too; what jobs print is in files
WITHOUT_TRACEBACKS = "exec 2>/dev/null"


@dataclass(frozen=True)
class Launcher:
    """A launcher as a study needs to know it."""

    name: str
    n_parallel: int  # jobs that it runs at the same time
    settings: dict[str, Any] = field(default_factory=dict)  # its own, if the user left them open
    env: dict[str, Any] = field(default_factory=dict)  # of its jobs

    @property
    def is_local(self) -> bool:
        """Whether jobs run on the study's machine, so that it can be asked what it has."""
        return self.name in LOCAL

    @property
    def in_process(self) -> bool:
        """Whether jobs run in the command's own process, one after another."""
        return self.name == "basic"

    @property
    def max_per_launch(self) -> int | None:
        """How many jobs may be given to it in one launch; submitit starts all of them."""
        return self.n_parallel if self.name == "submitit_local" else None


def read_launcher(hydra: Any, n_gpus: Callable[[], int]) -> Launcher:
    """Return the launcher in Hydra's config; n_gpus counts this machine's GPUs for its jobs.

    Raises Unreachable if a cluster does not answer.
    """
    given, choice = hydra.launcher, str(hydra.runtime.choices["hydra/launcher"])
    name = NAMES.get(given._target_.rpartition(".")[2], choice)
    cores = len(os.sched_getaffinity(0))
    if name == "joblib":  # which gives each process its share of the cores
        n = given.n_jobs if given.n_jobs > 0 else n_gpus() or cores
        return Launcher(name, n, {"n_jobs": n})
    if name == "submitit_local":  # which hides GPUs, and gives each process all cores
        n = n_gpus() or cores
        own = {"gpus_per_node": given.gpus_per_node or n_gpus(), "setup": [WITHOUT_TRACEBACKS]}
        return Launcher(name, n, own, _thread_limit(max(1, cores // n)))
    if name == "submitit_slurm":
        between("hydra.launcher.array_parallelism", given.array_parallelism, 1, 10_000)
        cpus = given.cpus_per_task
        return Launcher(name, given.array_parallelism, env=_thread_limit(cpus) if cpus else {})
    if name == "ray":
        return _ray_launcher(given)
    return Launcher(name, 1)


def _thread_limit(n: int) -> dict[str, Any]:
    return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": n}


def _ray_launcher(given: DictConfig) -> Launcher:
    """Start or join a Ray cluster, and ask it how many jobs it can run at once."""
    # or, under `uv run`, Ray would send the folder away and install an environment for each worker
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray

    init = OmegaConf.to_container(given.ray.init, resolve=True)
    assert isinstance(init, dict)
    try:
        with sigterm_kept():
            ray.init(**{str(key): value for key, value in init.items()}, ignore_reinit_error=True)
    except ConnectionError as error:
        address = f"hydra.launcher.ray.init.address={init['address']}"
        raise Unreachable(f"{address}: {first_line(error)}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"hydra.launcher.ray.init: {first_line(error)}") from None
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    remote = {"num_cpus": 1, "num_gpus": min(1, has.get("GPU", 0)), **given.ray.remote}
    needed = {"CPU": remote["num_cpus"], "GPU": remote["num_gpus"]}
    fits = [int(has.get(key, 0) // each) for key, each in needed.items() if each]
    allowed = (
        f"must fit the cluster, which has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
    )
    require(all(fits), "hydra.launcher.ray.remote", needed, allowed)
    n = min(fits, default=1)
    return Launcher("ray", n, {"ray": {"remote": remote}})
