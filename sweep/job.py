"""One job: train the trials it is given together and leave one result file.

A job is a pure function of (config, trials, seeds): it never sees the study or its storage, so a
lost job is run again as it was and gives the same numbers.
"""

import json
import logging
import os
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
from sweep.claim import Withdrawn, check, claimed
from sweep.config import BadInput, Config, Unreachable, is_rate, typed
from sweep.culprit import in_halves
from sweep.curves import Curves, Run
from sweep.data import Data, load, load_test
from sweep.engine.memory import most_members
from sweep.engine.outside import Candidates
from sweep.engine.plain import Setting, build
from sweep.engine.population import Population
from sweep.engine.proof import prove
from sweep.engine.site import searched
from sweep.engine.way import Differs, Way
from sweep.halving import rungs, stay
from sweep.launcher import in_command, named
from sweep.mistake import first_line
from sweep.model import builder
from sweep.progress import progress
from sweep.result import CONFIRMATION, Left, Table, Work

log = logging.getLogger(__name__)


lost = False  # whether a trial took the device from this process


def run(cfg: DictConfig) -> str:
    """Train what `cfg.population` says in Hydra's output folder; return what the result file holds.

    Faults of trials end up in the result. Where there is none, returned is {"stopped": why} or,
    for what is no user's or machine's fault, {"fault": traceback}: plain data, which every
    launcher brings back, unlike exceptions.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with claimed(folder):
            return _run(typed(cfg), folder)
    except OSError as error:
        return json.dumps({"stopped": f"{error.filename or 'a file'}: {error.strerror}"})
    except (BadInput, Unreachable) as error:
        return json.dumps({"stopped": str(error)})
    except Withdrawn:
        return json.dumps({"stopped": "the study no longer waits for it"})
    except Exception:
        return json.dumps({"fault": traceback.format_exc()})


def _run(config: Config, folder: Path) -> str:
    global lost
    if lost:  # the same command goes on in a process that has one
        if not _in_command():
            os._exit(1)  # and so does this one, by a worker in place of this
        return json.dumps({"fault": "the device is lost; the same command goes on"})
    work = result.from_json(config.population)
    device = pick_device(config.train.device, _place())
    if not _in_command():
        progress.tell(folder)
    begin = time.monotonic()
    try:
        lefts = in_halves(lambda part: train(config, part, device, folder), work)
    except torch.AcceleratorError:
        log.exception("the device is lost")
        lost = True
        alone = len(work.trials) == 1
        lefts = [Left(error=traceback.format_exc(), lost=True)] if alone else []
    text = result.to_text(work, lefts, time.monotonic() - begin)
    result.write(folder, text)
    return text


def _place() -> int:
    """Return which of a machine's GPUs is this job's: where jobs run side by side, by number."""
    return 0 if _in_command() else int(HydraConfig.get().job.num)


def _in_command() -> bool:
    return in_command(named(HydraConfig.get()))


def train(config: Config, work: Work, device: torch.device, folder: Path) -> list[Left]:
    """Train one population in a job's folder; return what each trial leaves."""
    data, done = load(config.data).to(device), progress.done
    way = work.way or _proven(config, work, data, folder)
    if way.device and (way.device, way.torch) != (device.type, torch.__version__):
        log.warning("proven on %s by torch %s: proven anew", way.device, way.torch)
        way = _proven(config, work, data, folder)
    while True:
        try:
            return _train(config, work, data, folder, way)
        except Differs as found:
            way = way.plainly(found.why, found.draws)
        except Exception as error:
            elsewhere = isinstance(error, OSError | Unreachable | torch.AcceleratorError)
            if elsewhere or not way.fused or len(work.trials) > 1:
                raise
            way = way.plainly(f"as one program it fails: {first_line(error)}")
        log.warning("trained again, member by member: %s", way.why)
        progress.extend(progress.done - done)


def _proven(config: Config, work: Work, data: Data, folder: Path) -> Way:
    """Find out how a model is trained; a file says so, should the process die of another rate."""
    (folder / result.PROOF).touch()
    try:
        some = candidates(config, work.points, data)
        way = prove(some, config.train, data, data.train.inputs.device)
    finally:
        (folder / result.PROOF).unlink()
    if way.why:
        log.warning("trained member by member: %s", way.why)
    return way


def candidates(config: Config, points: Sequence[Mapping[str, Any]], data: Data) -> Candidates:
    """Return what a proof trains: some points of a search, and the first with all rates at 0."""
    zero = {key: 0.0 if is_rate(key) else value for key, value in points[0].items()}
    return Candidates(
        [setting(config, point, data) for point in points],
        setting(config, zero, data, zero=True),
        setting(config, zero, data),
    )


def _train(config: Config, work: Work, data: Data, folder: Path, way: Way) -> list[Left]:
    """Train in a way; raise Differs where it is seen not to be the plain one.

    Trials that do not fit in memory together train in turns, each to its end.
    """
    settings = [setting(config, trial["params"], data, way.zero) for trial in work.trials]
    device, n = data.train.inputs.device, _at_a_time(config, work, data, settings[0])
    if n < len(work.trials):
        log.info("trained in turns, %d trials at a time", n)
        turns = [work.trials[first : first + n] for first in range(0, len(work.trials), n)]
        parts = (replace(work, trials=trials) for trials in turns)
        return [left for part in parts for left in _train(config, part, data, folder, way)]
    population = Population(settings, work.seeds, config.train, device, way=way)
    runs = [Run(trial["params"], trial["number"], work.generation) for trial in work.trials]
    with Curves(folder.parent.parent, runs) as curves:
        history = train_epochs(config, work, population, data, curves, folder)
        population.check(data.val)
    tested = test(population, config, data) if work.test else [{} for _ in history]
    lowering = {"device": str(device), "members": len(settings) * len(work.seeds)}
    lowering |= {"at_once": population.engine.at_once}
    lowering |= {"threads": torch.get_num_threads()} if device.type == "cpu" else {}
    log.info("trained %s %s", lowering, way)
    return [Left(*both, lowering=lowering, way=way) for both in zip(history, tested, strict=True)]


def _at_a_time(config: Config, work: Work, data: Data, one: Setting) -> int:
    """Return how many trials fit in memory; where they are halved they stay together."""
    if halved(config, work):
        return len(work.trials)
    device = data.train.inputs.device
    x, _ = data.train[torch.arange(min(config.train.batch_size, len(data.train)), device=device)]
    most = most_members(build(one, work.seeds[0], device, x.dtype), x, config.train)
    return max(1, most // len(work.seeds))


def train_epochs(
    config: Config,
    work: Work,
    population: Population,
    data: Data,
    curves: Curves,
    folder: Path,
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
        check(folder)
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
    return {**measure(population, data, epoch), "train_loss_dropout_on": population.table(on_loss)}


def test(population: Population, config: Config, data: Data) -> list[dict[str, list[float]]]:
    """Evaluate every trial on the test samples."""
    samples, last = load_test(config.data, data), config.train.epochs
    loss, error = map(population.table, population.evaluate(samples, last))
    pairs = zip(loss, error, strict=True)
    return [{"test_loss": losses, "test_error": errors} for losses, errors in pairs]


def measure(population: Population, data: Data, epoch: int) -> dict[str, Table]:
    """Evaluate every member, dropout off, on validation samples and as many training samples."""
    val_loss, val_error = population.evaluate(data.val, epoch)
    train_loss, train_error = population.evaluate(data.train_part, epoch)
    metrics = {
        "val_loss": val_loss,
        "val_error": val_error,
        "train_loss": train_loss,
        "train_error": train_error,
        "gap": val_loss - train_loss,
    }
    return {name: population.table(values) for name, values in metrics.items()}


def setting(config: Config, params: Mapping[str, Any], data: Data, zero: bool = False) -> Setting:
    """Put one trial's numbers into the config and make its plain model's builder.

    Rate 0 is built as a rate that drops nothing, so that the network is the same; or at `zero`.
    """
    if not zero:
        params = {k: searched(v) if is_rate(k) else v for k, v in params.items()}
    model = {**config.model, **section(params, "model.")}
    train = replace(config.train, **section(params, "train."))
    build = builder(model, float(params["dropout"]), data.input_shape, data.n_classes)
    return Setting(build, train.lr, train.weight_decay)


def section(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def pick_device(name: str, place: int = 0) -> torch.device:
    """Return the device that train.device names, if this machine has it.

    Where it names none of several GPUs, they are given out by place.
    """
    n_gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if n_gpus else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise BadInput(f"train.device={name}: this machine has {n_gpus} CUDA devices; use auto")
    if name == "cuda" and place:
        return torch.device("cuda", place % n_gpus)
    return device
