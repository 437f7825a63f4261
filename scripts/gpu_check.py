"""Check a CUDA device and time it: the tests that compare with plain PyTorch, then the speed.

    python -m scripts.gpu_check --out gpu.json

The full MNIST is read from MNIST_ROOT, or from ./data.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

TESTS = ["tests/engine", "tests/workload/test_model.py", "tests/study/test_study.py"]
ALONE = ["-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow"]  # one process on the device
# these do a part of the work only; each in a command of its own, so that each may fail
SLOW = ("optuna-loader", "serial-loop", "serial-graph", "serial-compiled")
OURS = ("ours", "ours-compiled", "ours-bf16")
COMMANDS = {
    "tests": ["pytest", "-q", *ALONE, *TESTS],
    "models": ["scripts.bench.models", "--device", "cuda"],
    "compiled": ["scripts.bench.compiled", "transformer", "train.device=cuda"],
    "scale": ["scripts.bench.scale", "--device", "cuda"],
    "scale in bf16": ["scripts.bench.scale", "--device", "cuda", "--precision", "bf16"],
    "default sweep": ["sweep.run", "train.device=cuda"],
}
for kind in ("gpu", "gpu-narrow"):
    bench = ["scripts.bench", "--device", "cuda", "--rounds", "1"]
    COMMANDS |= {f"{kind}, {one}": [*bench, f"{kind}-part", "--only", one] for one in SLOW}
    COMMANDS |= {f"{kind}, {one}": [*bench, kind, "--only", one] for one in OURS}
ON_CPU = {  # a little of each, to try this script
    "tests": ["pytest", "-q", *ALONE, "tests/engine/test_population.py"],
    "models": ["scripts.bench.models", "mlp"],
    "scale": ["scripts.bench.scale", "--points", "1"],
    "compiled": ["scripts.bench.compiled", "mlp", "data.n_train=2500", "model.width=16"],
    "default sweep": ["sweep.run", "data=mnist5k", "train.epochs=1", "train.device=cpu"],
    "bench": ["scripts.bench", "--rounds", "1", "small-part"],
}


def run(arguments: list[str], device: str, folder: str) -> dict[str, Any]:
    """Run a module; what it writes goes into a folder."""
    places = {"scripts.bench.scale": ["--out", f"{folder}/scale.png"]}
    places["sweep.run"] = [f"hydra.sweep.dir={folder}/runs"]
    command = [sys.executable, "-m", *arguments, *places.get(arguments[0], [])]
    begin, env = time.monotonic(), {**os.environ, "TEST_DEVICE": device}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    seconds, lines = round(time.monotonic() - begin, 1), done.stdout.splitlines()
    report = {"command": arguments, "exit": done.returncode, "seconds": seconds, "output": lines}
    return report | ({"error": done.stderr[-2000:]} if done.returncode else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    args = parser.parse_args()
    commands, name = ON_CPU, platform.machine()
    if args.device == "cuda":
        commands, name = COMMANDS, torch.cuda.get_device_name()
    report: dict[str, Any] = {"device": name, "torch": torch.__version__}
    with TemporaryDirectory() as folder:
        for part, arguments in commands.items():
            report[part] = run(arguments, args.device, folder)
    args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
