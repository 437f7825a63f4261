"""Time the way to an answer on all of MNIST: this project's default command and two others.

    python -m scripts.bench.answer [--device cuda]

- the default command, from its start to its last line, in a process of its own;
- Optuna with a DataLoader, with as many trainings: two for an epoch are timed and scaled;
- the best loop by hand over 45 trainings, which 9 rates x 5 seeds are, all of it timed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.bench.__main__ import run
from scripts.bench.workload import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = parser.parse_args().device
    n, seconds = default_command(device)
    whole, part = WORKLOADS["mnist"], WORKLOADS["mnist-part"]
    two = run("optuna-loader", "mnist-part", device)
    scaled = two["process"] + two["seconds"] * (n * whole.epochs / (part.trials * part.epochs) - 1)
    loop = run("serial-loop", "mnist", device)["process"]
    print(f"{whole}, {os.cpu_count()} cores, {device}\n")
    print("| | trainings | whole process, s | of ours |\n| --- | ---: | ---: | ---: |")
    for name, trainings, time_ in (
        ("python -m sweep.run", n, seconds),
        ("Optuna with a DataLoader (scaled)", n, scaled),
        ("9 rates x 5 seeds by hand", whole.trials, loop),
    ):
        print(f"| {name} | {trainings} | {time_:.0f} | {time_ / seconds:.2f} |")


def default_command(device: str) -> tuple[int, float]:
    """Return how many networks the default command trains, and its time in seconds."""
    env = os.environ | {"MNIST_ROOT": str(Path(os.environ.get("MNIST_ROOT", "data")).resolve())}
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sweep.run", "study.name=it", f"train.device={device}"]
        begin = time.perf_counter()
        subprocess.run(
            [*command, f"hydra.sweep.dir='{folder}'"],
            env=env,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - begin
        ends = [json.loads(path.read_text()) for path in Path(folder).glob("it/jobs/*/result.json")]
    works = [end["work"] for end in ends]
    return sum(len(work["trials"]) * len(work["seeds"]) for work in works), seconds


if __name__ == "__main__":
    main()
