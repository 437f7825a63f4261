"""Time this project against how people sweep today, and against the best loop by hand.

    python -m scripts.bench small [--rounds 5] [--only ours,serial-loop] [--device cuda]

Contenders take turns, there and back; the table gives medians (least to most).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

import torch

from scripts.bench.workload import WORKLOADS, Workload
from sweep.check import seconds_of

CONTENDERS = {
    "optuna-loader": ["scripts.bench.optuna_loader"],
    "serial-loop": ["scripts.bench.serial"],
    "serial-compiled": ["scripts.bench.serial", "compile"],
    "serial-graph": ["scripts.bench.serial", "graph"],  # on a GPU only
    "ours": ["scripts.bench.ours"],
    "ours-compiled": ["scripts.bench.ours", "train.compile=true"],
    "ours-bf16": ["scripts.bench.ours", "train.precision=bf16"],
}
Result = dict[str, float]


def run(name: str, workload: str, device: str) -> Result:
    """Run a contender in a process of its own; add the whole process's wall time."""
    module, *more = CONTENDERS[name]
    begin = time.perf_counter()
    command = [sys.executable, "-m", module, workload, f"train.device={device}", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    whole = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    result = {**json.loads(lines[0]), "process": whole}
    print(name, json.dumps(result), file=sys.stderr, flush=True)
    return result


def peak(device: torch.device, size: int = 2048, rounds: int = 10) -> float:
    """Return the device's best GFLOP/s in a float32 product."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / min(seconds_of(lambda: a @ b, device) for _ in range(rounds)) / 1e9


def row(name: str, runs: list[Result], work: Workload, gflops: float) -> str:
    speeds = [one["trial_epochs_per_second"] for one in runs]
    rate = median(speeds) * work.flop / 1e9
    process, loss = (median(one[key] for one in runs) for key in ("process", "val_loss"))
    spread = f"{median(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f})"
    return f"| {name} | {spread} | {rate:.0f} | {rate / gflops:.0%} | {process:.1f} | {loss:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    work, usual = WORKLOADS[args.workload], ["optuna-loader", "serial-loop", "ours", "ours-bf16"]
    names = args.only.split(",") if args.only else usual
    results: dict[str, list[Result]] = {name: [] for name in names}
    for round in range(args.rounds):
        for name in names if round % 2 == 0 else reversed(names):
            results[name].append(run(name, args.workload, args.device))
    gflops = peak(torch.device(args.device))
    print(f"{work}, {os.cpu_count()} cores, {args.device}, float32 peak {gflops:.0f} GFLOP/s\n")
    print("| | trial-epochs/s | GFLOP/s | of the peak | process, s | val loss |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, runs in results.items():
        print(row(name, runs, work, gflops))


if __name__ == "__main__":
    main()
