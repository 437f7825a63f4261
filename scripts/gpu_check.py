"""Check a CUDA device and time it: the tests that compare with plain PyTorch, then the speed.

    python -m scripts.gpu_check --out gpu.json [--only tests,models]

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
from tempfile import gettempdir
from typing import Any

import torch

TESTS = ["tests/engine", "tests/workload/test_model.py", "tests/study/test_study.py"]
ALONE = ["-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow"]  # one process on the device
SLOW = "optuna-loader,serial-loop,serial-graph"  # do a part of the work only


def commands(device: str) -> dict[str, list[str]]:
    """Return what is run, each a module and its arguments."""
    there, folder = ["--device", device], Path(gettempdir()) / f"gpu_check_{os.getpid()}"
    named = {
        "tests": ["pytest", "-q", *ALONE, *TESTS],
        "models": ["scripts.bench.models", *there],
        "default sweep": ["sweep.run", f"hydra.sweep.dir={folder}", f"train.device={device}"],
    }
    for precision in ("float32", "bf16"):
        picture = ["--out", f"{folder}_{precision}.png"]
        named[f"scale {precision}"] = [
            *["scripts.bench.scale", *there, "--precision", precision, *picture]
        ]
    for kind in ("gpu", "gpu-narrow"):
        bench = ["scripts.bench", *there, "--rounds", "1"]
        named[f"{kind} others"] = [*bench, f"{kind}-part", "--only", SLOW]
        named[f"{kind} ours"] = [*bench, kind, "--only", "ours,ours-bf16"]
    return named


def run(module: str, *arguments: str, device: str) -> dict[str, Any]:
    begin = time.monotonic()
    env = {**os.environ, "TEST_DEVICE": device}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    return {
        "command": [module, *arguments],
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - begin, 1),
        "output": done.stdout.splitlines(),
        "end_of_errors": done.stderr[-2000:],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="cuda", help="cpu, with --only, tries the script")
    parser.add_argument("--only", help="some of: tests, models, default sweep, ...")
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    name = torch.cuda.get_device_name(args.device) if cuda else platform.processor()
    report: dict[str, Any] = {"device": name, "torch": torch.__version__}
    known = commands(args.device)
    for part in args.only.split(",") if args.only else known:
        report[part] = run(*known[part], device=args.device)
    args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
