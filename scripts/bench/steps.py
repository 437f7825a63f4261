"""What each step of optimisation brings: a training step of 8 rates with and without it.

    python -m scripts.bench.steps

"plain" is vmap and autograd in each step and malloc as it comes; "kept" keeps freed memory,
"traced" runs the traced operations. Each is timed in processes of its own, which take turns.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from scripts.bench.models import DIGITS, MODELS
from sweep.check import first
from sweep.config import TrainConfig
from sweep.data import load
from sweep.engine import malloc, traced
from sweep.engine.plain import Setting
from sweep.engine.population import Population
from sweep.model import builder

CASES = {  # model, seeds, width, precision
    "mlp, 256 wide": ("mlp", 2, 256, "float32"),
    "mlp, 256 wide, bf16": ("mlp", 2, 256, "bf16"),
    "mlp, 1024 wide": ("mlp", 1, 1024, "float32"),
    "mlp, 1024 wide, bf16": ("mlp", 1, 1024, "bf16"),
    "mlp, 32 wide": ("mlp", 3, 32, "float32"),
    "rnn": ("rnn", 3, None, "float32"),
}
VARIANTS = ("plain", "kept", "kept and traced")
STEPS, ROUNDS = 6, 6


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(*sys.argv[1:])))
        return
    print("| | " + " | ".join(f"{v}, ms a step (page faults)" for v in VARIANTS) + " |")
    print("| --- | " + " | ".join("---:" for _ in VARIANTS) + " |")
    for case in CASES:
        runs = [[child(case, variant) for variant in VARIANTS] for _ in range(ROUNDS)]
        cells = []
        for of_variant in zip(*runs, strict=True):
            ms, faults = (statistics.median(column) for column in zip(*of_variant, strict=True))
            cells.append(f"{ms:.1f} ({faults:,.0f})")
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


def child(case: str, variant: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "scripts.bench.steps", case, variant]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ms, faults = json.loads(done.stdout)
    return ms, faults


def measure(case: str, variant: str) -> tuple[float, float]:
    """Return the median milliseconds of a training step, and the page faults in it."""
    if variant == "plain":
        malloc.keep_freed = lambda: None
    traced.AS_IT_IS = 2 if "traced" in variant else sys.maxsize
    name, n_seeds, width, precision = CASES[case]
    model = {**MODELS[name], **({"width": width} if width else {})}
    rates = [0.8 * i / 8 for i in range(8)]
    settings = [Setting(builder(model, rate, (1, 28, 28), 10), 1e-3, 0.01) for rate in rates]
    config = TrainConfig(precision=precision)
    members = Population(settings, range(n_seeds), config, torch.device("cpu"))
    samples = first(load(DIGITS).train, STEPS * config.batch_size)
    members.train_epoch(samples, 0)
    times, faults = [], []
    for _ in range(5):
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        members.train_epoch(samples, 0)
        times.append((time.perf_counter() - begin) / STEPS * 1000)
        after = resource.getrusage(resource.RUSAGE_SELF)
        faults.append((after.ru_minflt - before.ru_minflt) / STEPS)
    return statistics.median(times), statistics.median(faults)


if __name__ == "__main__":
    main()
