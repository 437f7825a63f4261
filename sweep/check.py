"""python -m sweep.check: are members trained together what they are alone, here, and how fast?

Takes the overrides of sweep.run that name a model, data and training:

    python -m sweep.check model=cnn train.device=cuda
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from hydra import compose, initialize_config_dir
from torch import nn

from sweep import arguments
from sweep.config import BadInput, Config, TrainConfig, typed
from sweep.data import Split, load
from sweep.dropout import swap_dropout
from sweep.exits import exit_code
from sweep.inspection import try_out
from sweep.job import pick_device, setting
from sweep.population import Population, Setting, order_and_keys
from sweep.program import AS_IT_IS
from sweep.skeleton import LOSSES

RATES, SEEDS = (0.0, 0.2, 0.5, 0.8), (0, 1)
STEPS = AS_IT_IS + 4
BOUND = 1e-10  # of a difference in double precision: rounding, and no more


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    return exit_code(lambda: check(sys.argv[1:]))


def check(overrides: list[str]) -> int:
    """Print the largest difference and the speed-up; return 1 where they differ."""
    arguments.check(overrides)
    for override in overrides:
        if "=" in override and arguments.parse(override).is_sweep_override():
            raise BadInput(f"{override}: nothing is searched here; give one value")
    with initialize_config_dir(str(arguments.CONF), version_base="1.3"):
        config = typed(compose("config", overrides))
    device = pick_device(config.train.device)
    data = load(config.data)
    try_out(config.model, [], data.input_shape, data.n_classes)
    samples = first(data.to(device, torch.float64).train, STEPS * config.train.batch_size)
    settings = [setting(config, {"dropout": rate}, data) for rate in RATES]
    exact = replace(config.train, precision="float32")  # that is, no products in bf16
    worst = difference(settings, samples, exact, device)
    print(f"{len(RATES)} rates x {len(SEEDS)} seeds on {device}, {STEPS} steps")
    verdict = "the same" if worst < BOUND else f"THEY DIFFER, the bound is {BOUND:g}"
    print(f"largest difference of a weight, together or alone: {worst:.1e} (float64): {verdict}")
    if worst >= BOUND:
        return 1
    together, serial = speeds(config, device)
    n = config.study.generation * config.study.seeds
    print(f"an epoch of {n} members: {together:.2f} s together, {serial:.2f} s one after another")
    print(f"together {serial / together:.2f} times as fast as plain PyTorch's loop")
    return 0


def first(split: Split, n: int) -> Split:
    return replace(split, inputs=split.inputs[:n], targets=split.targets[:n])


def difference(
    settings: list[Setting], samples: Split, config: TrainConfig, device: torch.device
) -> float:
    """Return how far apart a weight is after an epoch in a population and by plain PyTorch."""
    members = Population(settings, SEEDS, config, device, torch.float64)
    members.train_epoch(samples, 0)
    worst = 0.0
    for p, one in enumerate(settings):
        for s, seed in enumerate(SEEDS):
            model = alone(one, seed, samples, config, device)
            for name, weight in model.named_parameters():
                ours = members.params[name][p * len(SEEDS) + s]
                worst = max(worst, (ours - weight).abs().max().item())
    return worst


def alone(
    one: Setting, seed: int, samples: Split, config: TrainConfig, device: torch.device
) -> nn.Module:
    """Train one network for an epoch as anybody would, but for the noise behind its masks."""
    torch.manual_seed(seed)
    model = one.build()
    dropouts = swap_dropout(model)
    model.to(device, torch.float64).train()
    optimizer = torch.optim.AdamW(model.parameters(), one.lr, weight_decay=one.weight_decay)
    order, keys = order_and_keys(seed, 0, len(samples), config.batch_size)
    for step, rows in enumerate(torch.split(order.to(device), config.batch_size)):
        for dropout in dropouts:
            dropout.begin(keys[:, None].to(device), step)
            dropout.calls = 0
        x, y = samples[rows]
        optimizer.zero_grad()
        LOSSES[config.loss](model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def speeds(config: Config, device: torch.device, rounds: int = 3) -> tuple[float, float]:
    """Return the seconds of one epoch of a generation, together and one after another."""
    data = load(config.data).to(device)
    n_trials = config.study.generation
    rates = [0.8 * i / n_trials for i in range(n_trials)]
    settings = [setting(config, {"dropout": rate}, data) for rate in rates]
    members = Population(settings, range(config.study.seeds), config.train, device)
    models = [one.build().to(device) for one in settings for _ in members.seeds]
    samples = first(data.train, STEPS * config.train.batch_size)
    works = (lambda: members.train_epoch(samples, 0)), (lambda: serial(models, samples, config))
    times = [[seconds(work, device) for work in works] for _ in range(rounds + 1)][1:]
    scale = len(data.train) / len(samples)
    together, one_by_one = (scale * statistics.median(t) for t in zip(*times, strict=True))
    return together, one_by_one


def serial(models: list[nn.Module], samples: Split, config: Config) -> None:
    """Train one model after another for an epoch: tensors on the device, no DataLoader."""
    bf16 = config.train.precision == "bf16"
    device, size = samples.inputs.device, config.train.batch_size
    for model in models:
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        for rows in torch.split(torch.randperm(len(samples), device=device), size):
            x, y = samples[rows]
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                outputs = model(x)
            LOSSES[config.train.loss](outputs.float(), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
