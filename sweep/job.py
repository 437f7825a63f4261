"""One job: train the trials it is given together and leave one result file.

A job is a pure function of (config, trials, seeds): it never sees the study or its storage, so a
lost job is run again as it was and gives the same numbers.
"""

import json
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sweep import result
from sweep.config import BadInput, Config, Unreachable, is_rate, typed
from sweep.culprit import in_halves
from sweep.curves import Curves, Run
from sweep.data import Data, load, load_test
from sweep.halving import rungs, stay
from sweep.model import builder
from sweep.population import Population, Setting
from sweep.progress import progress
from sweep.result import CONFIRMATION, Left, Table, Work

log = logging.getLogger(__name__)


lost = False  # whether a trial took the device from this process


def run(cfg: DictConfig) -> str | None:
    """Train what `cfg.population` says in Hydra's output folder.

    Faults of trials end up in the result; returned is why there is none.
    """
    try:
        _run(typed(cfg), Path(HydraConfig.get().runtime.output_dir))
    except OSError as error:
        return f"{error.filename or 'a file'}: {error.strerror}"
    except (BadInput, Unreachable) as error:
        return str(error)
    return None


def _run(config: Config, folder: Path) -> None:
    global lost
    if lost:
        return  # the same command goes on in a process that has one
    work = result.from_json(config.population)
    begin = time.monotonic()
    try:
        lefts = in_halves(lambda part: train(config, part, folder.parent.parent), work)
    except torch.AcceleratorError:
        log.exception("the device is lost")
        lost = True
        alone = len(work.trials) == 1
        lefts = [Left(error=traceback.format_exc(), lost=True)] if alone else []
    result.write(folder, work, lefts, time.monotonic() - begin)


def train(config: Config, work: Work, folder: Path) -> list[Left]:
    """Train one population, its event files in folder; return what each trial leaves."""
    device = pick_device(config.train.device)
    data = load(config.data).to(device)
    settings = [setting(config, trial["params"], data) for trial in work.trials]
    population = Population(settings, work.seeds, config.train, device)
    runs = [Run(trial["params"], trial["number"], work.generation) for trial in work.trials]
    with Curves(folder, runs) as curves:
        history = train_epochs(config, work, population, data, curves)
    tested = test(population, config, data) if work.test else [{} for _ in history]
    lowering = {"device": str(device), "members": len(settings) * len(work.seeds)}
    lowering |= {"at_once": population.at_once, "fused": population.skeleton.fused}
    log.info("trained %s", lowering)
    return [Left(*both, lowering=lowering) for both in zip(history, tested, strict=True)]


def train_epochs(
    config: Config, work: Work, population: Population, data: Data, curves: Curves
) -> list[dict[str, Table]]:
    """Train through all epochs, telling the curves and the bar; return each trial's metrics."""
    rates = [float(trial["params"]["dropout"]) for trial in work.trials]
    halves = rungs(config.train.epochs) if halved(config, work) else set()
    left = list(range(len(work.trials)))  # those still in training
    history: list[dict[str, Table]] = [{} for _ in left]
    for epoch in range(1, config.train.epochs + 1):
        metrics = train_epoch(population, data, epoch)
        curves.log(epoch, metrics)
        for metric, table in metrics.items():
            for trial, row in zip(left, table, strict=True):
                history[trial].setdefault(metric, []).append(row)
        means = [fmean(row) for row in metrics[config.study.metric]]
        text = f"{work.title}, epoch {epoch}/{config.train.epochs}"
        progress.show(text, zip(means, (rates[trial] for trial in left), strict=True))
        if epoch in halves:
            places = stay([work.trials[trial]["params"] for trial in left], means)
            gone = (len(left) - len(places)) * len(work.seeds)
            progress.extend(-gone * (config.train.epochs - epoch))
            left = [left[place] for place in places]
            population.keep(places)
            curves.keep(places)
    return history


def halved(config: Config, work: Work) -> bool:
    return config.study.prune == "halving" and work.generation < CONFIRMATION


def train_epoch(population: Population, data: Data, epoch: int) -> dict[str, Table]:
    """Train for one epoch, counted from 1; return its metrics."""
    part = population.n_members / population.n_steps(len(data.train))
    on_loss = population.train_epoch(data.train, epoch - 1, lambda: progress.advance(part))
    return {**measure(population, data), "train_loss_dropout_on": population.table(on_loss)}


def test(population: Population, config: Config, data: Data) -> list[dict[str, list[float]]]:
    """Evaluate every trial on the test samples."""
    loss, error = map(population.table, population.evaluate(load_test(config.data, data)))
    pairs = zip(loss, error, strict=True)
    return [{"test_loss": losses, "test_error": errors} for losses, errors in pairs]


def measure(population: Population, data: Data) -> dict[str, Table]:
    """Evaluate every member, dropout off, on validation samples and as many training samples."""
    val_loss, val_error = population.evaluate(data.val)
    train_loss, train_error = population.evaluate(data.train_part)
    metrics = {
        "val_loss": val_loss,
        "val_error": val_error,
        "train_loss": train_loss,
        "train_error": train_error,
        "gap": val_loss - train_loss,
    }
    return {name: population.table(values) for name, values in metrics.items()}


def setting(config: Config, params: Mapping[str, Any], data: Data) -> Setting:
    """Put one trial's numbers into the config and make its plain model's builder."""
    model = {**config.model, **section(params, "model.")}
    train = replace(config.train, **section(params, "train."))
    build = builder(model, float(params["dropout"]), data.input_shape, data.n_classes)
    return Setting(build, train.lr, train.weight_decay)


def section(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def pick_device(name: str) -> torch.device:
    """Return the device that train.device names, if this machine has it."""
    n_gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if n_gpus else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise BadInput(f"train.device={name}: this machine has {n_gpus} CUDA devices; use auto")
    return device


def cut(trials: Sequence[dict[str, Any]], n_seeds: int, fuse: int) -> list[list[dict[str, Any]]]:
    """Cut trials into populations: one architecture each, and no more than `fuse` members."""
    shapes: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        numbers = section(trial["params"], "model.")
        shape = {key: value for key, value in numbers.items() if not is_rate(key)}
        shapes.setdefault(json.dumps(shape), []).append(trial)
    size = max(1, fuse // n_seeds)
    return [group[i : i + size] for group in shapes.values() for i in range(0, len(group), size)]
