"""One job: train the trials it is given together and write one result file.

A job is a pure function of (config, trials, seeds): it never sees the study or its storage, so a
lost job is run again as it was and gives the same numbers.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sweep.command.config import Config, typed_config
from sweep.engine.device import pick_device
from sweep.engine.forked import done_apart
from sweep.engine.malloc import keep_freed
from sweep.engine.memory import most_members
from sweep.engine.objective import with_loss
from sweep.engine.plain import build_model
from sweep.engine.proof import prove_way
from sweep.engine.setting import Setting, candidates_of, setting_of
from sweep.engine.workers import may_fork, most_workers, population_of
from sweep.errors import (
    BadInput,
    Differs,
    Revoked,
    Unreachable,
    WorkerDied,
    WorkerFailed,
    first_line,
)
from sweep.jobs.bisect import train_bisecting
from sweep.jobs.claim import hold_claim
from sweep.jobs.epochs import is_halved, test_members, train_epochs
from sweep.jobs.results import (
    PROOF,
    DeviceLost,
    Fault,
    Finished,
    JobEnd,
    Stopped,
    to_text,
    work_from_json,
    write_result,
)
from sweep.show.curves import Curves, Run, columns_of_study
from sweep.show.progress import Bar, JobReporter, Reporter
from sweep.stop import stop_if_asked
from sweep.work import TrialResult, Way, Work
from sweep.workload.data import Data, load_data

log = logging.getLogger(__name__)

device_lost = False  # whether a trial took the device from this process, until it ends


def run_job(cfg: DictConfig, bar: Bar | None = None) -> str:
    """Train what `cfg.work` says in Hydra's output folder; return the job's end as JSON.

    `bar` is the command's, if the job runs in the command's own process.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with hold_claim(folder):
            end = _run_work(typed_config(cfg), folder, bar)
            if isinstance(end, Finished | DeviceLost):
                write_result(folder, end)
    except OSError as error:
        end = Stopped(f"{error.filename or 'a file'}: {error.strerror}")
    except (BadInput, Unreachable) as error:
        end = Stopped(str(error))
    except Revoked:
        end = Stopped("the study no longer waits for it")
    except Exception:
        stop_if_asked()
        end = Fault(traceback.format_exc())
    return to_text(end)


def _run_work(config: Config, folder: Path, bar: Bar | None) -> JobEnd:
    global device_lost
    if device_lost:  # the same command goes on in a process that has one
        if bar is None:
            os._exit(1)  # and so does this one, by a worker in place of this
        return Fault("the device is lost; run the same command to resume")
    keep_freed()
    work = work_from_json(config.work)
    # jobs that run side by side on one machine take its GPUs by their numbers
    device = pick_device(config.train.device, 0 if bar else int(HydraConfig.get().job.num))
    reporter = bar or JobReporter(folder)
    begin = time.monotonic()
    try:
        results = train_bisecting(
            lambda part: train_population(config, part, device, folder, reporter), work, reporter
        )
    except torch.AcceleratorError:
        log.exception("the device is lost")
        device_lost = True
        if len(work.trials) > 1:
            return DeviceLost(work)
        results = [TrialResult(error=traceback.format_exc(), lost=True)]
    return Finished(work, results, time.monotonic() - begin)


def train_population(
    config: Config, work: Work, device: torch.device, folder: Path, reporter: Reporter
) -> list[TrialResult]:
    """Train one population in a job's folder; return the result of each trial."""
    data, done = load_data(config.data).to(device), reporter.done
    config = replace(config, train=with_loss(config.train, data))
    way = work.way or _prove_way(config, work, data, folder)
    if way.device and (way.device, way.torch) != (device.type, torch.__version__):
        log.warning("proven on %s by torch %s: proven again here", way.device, way.torch)
        way = _prove_way(config, work, data, folder)
    while True:
        try:
            return _train_in_way(config, work, data, folder, way, reporter)
        except Differs as differs:
            way = way.plainly(differs.why, differs.draws)
            again = f"member by member: {way.why}"
        except WorkerFailed as failed:
            if way.fused and isinstance(failed, WorkerDied):  # this process would die of it too
                way = way.plainly(f"as one program it fails: {failed}")
                again = f"member by member: {way.why}"
            else:
                way, again = replace(way, in_one_process=True), f"in one process: {failed}"
        except Exception as error:
            stop_if_asked()
            elsewhere = isinstance(error, OSError | Unreachable | torch.AcceleratorError)
            if elsewhere or not way.fused or len(work.trials) > 1:
                raise
            way = way.plainly(f"as one program it fails: {first_line(error)}")
            again = f"member by member: {way.why}"
        log.warning("trained again, %s", again)
        reporter.add_work(reporter.done - done)


def _prove_way(config: Config, work: Work, data: Data, folder: Path) -> Way:
    """Find out how a model is trained, in a process that may die of it if one can be forked."""
    device = data.train.targets.device
    candidates = candidates_of(config, work.points, data)
    prove = partial(prove_way, candidates, config.train, data, device)
    try:
        way = done_apart(prove) if may_fork(config.train, device) else _proven_here(prove, folder)
    except WorkerDied:
        way = Way(why="a process died while its model was tried out")
    except WorkerFailed as failed:
        log.warning("tried out again, in one process: %s", failed)
        way = replace(_proven_here(prove, folder), in_one_process=True)
    if way.why:
        log.warning("trained member by member: %s", way.why)
    return way


def _proven_here(prove: Callable[[], Way], folder: Path) -> Way:
    """Find it out in this process; a file says so, in case that it dies of it."""
    (folder / PROOF).touch()
    try:
        return prove()
    finally:
        (folder / PROOF).unlink()


def _train_in_way(
    config: Config, work: Work, data: Data, folder: Path, way: Way, reporter: Reporter
) -> list[TrialResult]:
    """Train in a way; raise Differs if it is seen not to be the plain one.

    Trials that do not fit in memory together train in turns, each to its end.
    """
    settings = [setting_of(config, trial.params, data, way.zero) for trial in work.trials]
    device = data.train.targets.device
    n, n_workers = _at_once(config, work, data, way, settings[0])
    if n < len(work.trials):
        log.info("trained in turns, %d trials at a time", n)
        turns = [work.trials[first : first + n] for first in range(0, len(work.trials), n)]
        parts = [replace(work, trials=trials) for trials in turns]
        trained = [_train_in_way(config, part, data, folder, way, reporter) for part in parts]
        return [result for part in trained for result in part]
    runs = [Run(trial.params, trial.number, work.generation) for trial in work.trials]
    study, splits = folder.parent.parent, (data.train, data.train_part, data.val)
    with population_of(
        settings, work.seeds, config.train, device, way, n_workers, splits
    ) as population:
        with Curves.begin_anew(study, runs, columns_of_study(study, config)) as curves:
            history = train_epochs(config, work, population, data, curves, folder, reporter)
            population.check(data.val)
        tested = test_members(population, config, data) if work.test else []
        execution = {"device": str(device), "members": len(settings) * len(work.seeds)}
        execution |= population.execution()
    log.info("trained %s %s", execution, way)
    measured = [vars(one) for one in tested] or [{} for _ in history]
    pairs = zip(history, measured, strict=True)
    return [TrialResult(curves, **of, execution=execution, way=way) for curves, of in pairs]


def _at_once(config: Config, work: Work, data: Data, way: Way, one: Setting) -> tuple[int, int]:
    """Return how many trials fit in memory, and how many processes train them side by side.

    Trials that are halved stay together.
    """
    device = data.train.targets.device
    n_samples = min(config.train.batch_size, len(data.train))
    x, _ = data.train[torch.arange(n_samples, device=device)]
    model = build_model(one, work.seeds[0], device, data.train.dtype)
    n_members, n_workers = most_members(
        model, x, config.train, most_workers(way, config.train, device)
    )
    if is_halved(config, work):
        return len(work.trials), n_workers
    return max(1, n_members // len(work.seeds)), n_workers
