"""Check a CUDA device and time it: first the tests that compare with plain PyTorch, then the speed.

    python -m scripts.gpu_check --out gpu.json

The full MNIST is read from MNIST_ROOT, or from ./data.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.mlp import MLP, MLPConfig
from scripts.bench import models as bench_models
from scripts.bench.__main__ import run
from sweep.command.config import TrainConfig
from sweep.engine.optimizer import AdamWSettings
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.workload.data import Data, load

TESTS = ["tests/test_sites.py", "tests/test_population.py", "tests/test_study.py"]
TESTS += ["tests/test_models.py", "tests/test_model.py", "tests/test_hazards.py"]
SWEEPS = {  # how people sweep, and this project, on the same card: module, workload, more
    f"{name} {kind}": (module, workload, *more)
    for kind in ("gpu", "gpu-narrow")
    for name, module, workload, *more in (
        ("optuna-loader", "scripts.bench.optuna_loader", f"{kind}-part"),
        ("serial-loop", "scripts.bench.serial", f"{kind}-part"),
        ("serial-loop, graph", "scripts.bench.serial", f"{kind}-part", "graph"),
        ("ours", "scripts.bench.ours", kind),
        ("ours-bf16", "scripts.bench.ours", kind, "train.precision=bf16"),
    )
}
FULL = {
    "_target_": "sweep.workload.digits.mnist",
    "download": True,
    "n_train": None,
    "n_val": 10_000,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="cuda", help="cpu tries the script itself")
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    report: dict[str, Any] = {"device": name, "torch": torch.__version__}
    report["tests"] = run_tests(args.device)
    root = os.environ.get("MNIST_ROOT", "data")
    data = load({**FULL, "root": root, "split_seed": 0}).to(device)
    report["epochs"] = [
        time_epochs(data, device, width, trials, seeds, precision)
        for width, trials, seeds in ((256, 8, 3), (256, 16, 1), (1024, 64, 1))
        for precision in ("float32", "bf16")
    ]
    digits = load(bench_models.DIGITS).to(device)
    names = [*sorted(bench_models.MODELS), *bench_models.OTHERS]
    report["models"] = [bench_models.row(name, digits) for name in names]
    report["sweeps"] = {name: sweep(args.device, *command) for name, command in SWEEPS.items()}
    report["default_sweep"] = default_sweep(args.device)
    args.out.write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


def run_tests(device: str) -> dict[str, Any]:
    """Run the CPU's own tests on the device."""
    alone = ["-o", "addopts=", "-m", "not slow"]  # one process on the device
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *alone, *TESTS]
    env = {**os.environ, "TEST_DEVICE": device}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    return {"passed": done.returncode == 0, "summary": done.stdout.strip().splitlines()[-1]}


def time_epochs(
    data: Data, device: torch.device, width: int, trials: int, seeds: int, precision: str
) -> dict[str, Any]:
    """Time one epoch of training and one of evaluation, after an epoch to warm up."""
    rates = [0.8 * i / (trials - 1) for i in range(trials)]
    configs = [MLPConfig(dropout=rate, width=width) for rate in rates]
    settings = [
        Setting(lambda config=config: MLP(config), AdamWSettings(1e-3, 0.01)) for config in configs
    ]  # type: ignore[misc]
    members = Population(settings, range(seeds), TrainConfig(precision=precision), device)

    def timed(work: Callable[[], object]) -> float:
        begin = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic() - begin

    timed(lambda: members.train_epoch(data.train, 0))
    train = timed(lambda: members.train_epoch(data.train, 1))
    evaluate = timed(lambda: members.evaluate(data.val))
    steps = members.n_steps(len(data.train))
    return {
        "width": width,
        "members": trials * seeds,
        "precision": precision,
        "ms_per_step": round(1000 * train / steps, 3),
        "member_epochs_per_second": round(trials * seeds / (train + 2 * evaluate), 2),
        "evaluate_seconds": round(evaluate, 3),
        "val_loss_of_rate_0": round(members.evaluate(data.val)[0][0].item(), 4),
    }


def sweep(device: str, module: str, workload: str, *more: str) -> dict[str, float] | str:
    """Time a contender, or say why it failed."""
    try:
        return run(module, workload, f"train.device={device}", *more)
    except SystemExit as error:
        return str(error)


def default_sweep(device: str) -> dict[str, Any]:
    """Run the default command on the full MNIST, start-up included."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"gpu_check_{os.getpid()}"
    command = [sys.executable, "-m", "sweep.run", f"hydra.sweep.dir={folder}"]
    begin = time.monotonic()
    done = subprocess.run([*command, f"train.device={device}"], capture_output=True, text=True)
    seconds = time.monotonic() - begin
    print(done.stdout, done.stderr[-2000:], flush=True)
    study = re.search(r"mlp-mnist-\w+", done.stdout)
    return {
        "exit_code": done.returncode,
        "seconds": round(seconds, 1),
        "study": study and study[0],
        "table": done.stdout.splitlines(),
    }


if __name__ == "__main__":
    main()
