"""Time an epoch of a generation with its steps traced, and traced and compiled, in turns.

    python -m scripts.bench.compiled mlp model.width=1024
    python -m scripts.bench.compiled transformer train.device=cuda

Prints a line of a table: 9 rates x 2 seeds, 4,000 digits in batches of 128; compiling is what the
first epoch takes longer.
"""

import sys
from dataclasses import replace

from scripts.bench.timing import rates
from sweep.check import medians_of, read_config, seconds_of
from sweep.engine.device import pick_device
from sweep.engine.population import Population
from sweep.engine.setting import candidates_of
from sweep.workload.data import load_data

WORK = ["data.n_train=4000", "data.n_val=1000"]
ROUNDS = 5


def main() -> None:
    name, *more = sys.argv[1:]
    config = read_config([f"model={name}", *WORK, *more])
    device = pick_device(config.train.device)
    data = load_data(config.data).to(device)
    some = candidates_of(config, [{"dropout": rate} for rate in rates(9)], data)
    members = [
        Population(some.settings, (0, 1), replace(config.train, compile=compile), device)
        for compile in (False, True)
    ]
    works = [lambda one=one: one.train_epoch(data.train, 0) for one in members]
    first, first_compiled = (seconds_of(work, device) for work in works)
    traced, compiled = medians_of(works, device, ROUNDS)
    assert members[1].engine.compiled
    print("| | an epoch traced, s | compiled, s | times as fast | compiling, s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    numbers = (
        f"{traced:.3f} | {compiled:.3f} | {traced / compiled:.2f} | {first_compiled - first:.1f}"
    )
    print(f"| {' '.join([name, *more])} | {numbers} |")


if __name__ == "__main__":
    main()
