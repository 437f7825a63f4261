"""python -m sweep.check: do members of a model train as one program here, and how fast?

Takes those overrides of sweep.run that set the model, the data and the training:

    python -m sweep.check model=cnn train.device=cuda
"""

from sweep.stop import leave, quiet_start, stop_if_asked

if __name__ == "__main__":
    quiet_start()  # before what takes seconds to import

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from sweep.command.arguments import is_sweep, read_command
from sweep.command.config import Config, job_config, typed_config
from sweep.command.exits import exit_code
from sweep.command.program import compose
from sweep.command.streams import lasting_streams
from sweep.engine.device import pick_device
from sweep.engine.inspection import try_out
from sweep.engine.malloc import keep_freed
from sweep.engine.objective import loss_of, with_loss
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.plain import outputs_of, plain_optimizer, take_step
from sweep.engine.population import FUSED
from sweep.engine.proof import prove_way
from sweep.engine.setting import candidates_of, setting_of
from sweep.engine.traced import AS_IT_IS
from sweep.engine.workers import most_workers, population_of
from sweep.errors import BadInput
from sweep.work import Way
from sweep.workload.data import Data, load_data
from sweep.workload.inputs import map_inputs
from sweep.workload.split import Split

RATES = (0.0, 0.4, 0.8)
STEPS = AS_IT_IS + 4
ROUNDS = 3
PLAIN_LOOP = "by a plain loop"
Loop = Callable[[list[nn.Module], Split, Config], object]


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        with lasting_streams():
            print(__doc__)
        return 0
    return exit_code(lambda: check_model(sys.argv[1:]))


def check_model(overrides: list[str]) -> int:
    """Print how the model would be trained and why, how fast each way is, and a study's time."""
    config = read_config(overrides)
    keep_freed()
    device = pick_device(config.train.device)
    data = load_data(config.data)
    config = replace(config, train=with_loss(config.train, data))
    for warning in try_out(config.model, [], data, config.train):
        print(f"warning: {warning}")
    data = data.to(device)
    points = [{"dropout": rate} for rate in RATES]
    way = prove_way(candidates_of(config, points, data), config.train, data, device)
    if way.fused:
        print(f"members train as one program on {device}: plain PyTorch gave the same numbers")
    else:
        print(f"members train one by one on {device}: {way.why}")
    times = measure_speeds(config, data, way)
    n = config.study.generation * config.study.seeds
    for name, of_name in times.items():
        print(f"an epoch of {n} members, {name}: {of_name:.2f} s")
    ours = times["as one program" if way.fused else "one by one"]
    print(f"{times[PLAIN_LOOP] / ours:.2f} times as fast as a plain loop")
    members = config.study.n_trials * config.study.seeds
    seconds_of_study = ours * config.train.epochs * members / n
    print(f"the search of a study, {members} trainings: about {seconds_of_study / 60:.1f} minutes")
    return 0


def read_config(arguments: list[str]) -> Config:
    typed = read_command(arguments)
    if typed.shows:
        raise BadInput(f"{' '.join(arguments)}: what Hydra shows is shown by sweep.run")
    for override in filter(is_sweep, typed.overrides):
        raise BadInput(f"{override}: sweep.check searches nothing; give one value")
    return typed_config(job_config(compose(typed.overrides, typed.places)))


def measure_speeds(
    config: Config, data: Data, way: Way, loops: Mapping[str, Loop] | None = None
) -> dict[str, float]:
    """Return the seconds that each way takes for a generation's epoch, evaluations not included."""
    n_trials, device = config.study.generation, data.train.targets.device
    rates = [0.8 * i / n_trials for i in range(n_trials)]
    settings = [setting_of(config, {"dropout": rate}, data, way.zero) for rate in rates]
    plain = replace(way, kind="plain")
    ways = {"one by one": plain} | ({"as one program": FUSED} if way.fused else {})
    samples = first_samples(data.train, STEPS * config.train.batch_size)
    seeds = range(config.study.seeds)
    works: dict[str, Callable[[], object]] = {}
    with ExitStack() as populations:
        for name, each in ways.items():
            n_workers = most_workers(each, config.train, device)
            population = populations.enter_context(
                population_of(settings, seeds, config.train, device, each, n_workers, [samples])
            )
            works[name] = partial(population.train_epoch, samples, 0)
        models = [one.build().to(device) for one in settings for _ in seeds]
        for name, loop in (loops or {PLAIN_LOOP: train_serially}).items():
            works[name] = partial(loop, models, samples, config)
        medians = medians_of(list(works.values()), device, ROUNDS)
    scale = len(data.train) / len(samples)
    return {name: scale * median for name, median in zip(works, medians, strict=True)}


def medians_of(
    works: Sequence[Callable[[], object]], device: torch.device, rounds: int
) -> list[float]:
    """Time works in turns; return the median seconds of each, the first round dropped."""
    times = [[seconds_of(work, device) for work in works] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def first_samples(split: Split, n: int) -> Split:
    inputs = map_inputs(lambda t: t[:n], split.inputs)
    return replace(split, inputs=inputs, targets=split.targets[:n])


def train_serially(models: list[nn.Module], samples: Split, config: Config) -> None:
    """Train the models one after another for an epoch: samples on the device, no DataLoader."""
    bf16 = config.train.precision == "bf16"
    device, size = samples.targets.device, config.train.batch_size
    numbers = OptimizerNumbers(config.train.lr, config.train.weight_decay)
    for model in models:
        model.train()
        optimizer = plain_optimizer(model, numbers, config.train)
        for rows in torch.split(torch.randperm(len(samples), device=device), size):
            x, y = samples[rows]
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                outputs = outputs_of(model, x, config.train)
            loss_of(outputs.float(), y, config.train).backward()  # type: ignore[no-untyped-call]
            take_step(model, optimizer, config.train)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    stop_if_asked()
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


if __name__ == "__main__":
    leave(main())
