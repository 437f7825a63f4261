"""Time this project against how people sweep today, and against the best loop by hand.

    python -m scripts.bench small [--rounds 5] [--only ours,serial-loop]

Contenders take turns, there and back; the table gives medians (least to most).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

from scripts.bench.workload import WORKLOADS

CONTENDERS = {
    "optuna-loader": ["scripts.bench.optuna_loader"],
    "serial-loop": ["scripts.bench.serial"],
    "ours": ["scripts.bench.ours"],
    "ours-bf16": ["scripts.bench.ours", "train.precision=bf16"],
}
Result = dict[str, float]


def run(module: str, workload: str, *more: str) -> Result:
    """Run a contender in a process of its own; add the whole process's wall time."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", module, workload, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    whole = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    return {**json.loads(lines[0]), "process": whole}


def peak(size: int = 2048, rounds: int = 10) -> float:
    """Return the machine's best GFLOP/s in a float32 product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / min(times) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(CONTENDERS))
    args = parser.parse_args()
    work, names = WORKLOADS[args.workload], args.only.split(",")
    results: dict[str, list[Result]] = {name: [] for name in names}
    for round in range(args.rounds):
        for name in names if round % 2 == 0 else reversed(names):
            module, *more = CONTENDERS[name]
            results[name].append(run(module, args.workload, *more))
            print(name, json.dumps(results[name][-1]), file=sys.stderr, flush=True)
    gflops = peak()
    print(f"{work}, {os.cpu_count()} cores, float32 peak {gflops:.0f} GFLOP/s\n")
    print("| | trial-epochs/s | GFLOP/s | of the peak | process, s | val loss |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, runs in results.items():
        speeds = [one["trial_epochs_per_second"] for one in runs]
        speed = statistics.median(speeds)
        rate = speed * work.flop / 1e9
        process = statistics.median(one["process"] for one in runs)
        loss = statistics.median(one["val_loss"] for one in runs)
        spread = f"{speed:.2f} ({min(speeds):.2f} to {max(speeds):.2f})"
        cells = [spread, f"{rate:.0f}", f"{rate / gflops:.0%}", f"{process:.1f}", f"{loss:.4f}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
