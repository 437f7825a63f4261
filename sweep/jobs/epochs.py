"""One population trained through all epochs, and measured after each."""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from torch import Tensor

from sweep.command.config import Config
from sweep.engine.objective import finish_outcomes, metric_of
from sweep.engine.population import Population
from sweep.engine.workers import Workers
from sweep.jobs.claim import raise_if_revoked
from sweep.jobs.halving import rungs, survivors
from sweep.show.curves import Curves
from sweep.show.progress import Reporter
from sweep.stop import stop_if_asked
from sweep.work import CONFIRMATION, DROPOUT_ON, Table, Work
from sweep.workload.data import Data, load_test_split

MOST_SAMPLES = 10_000  # whose losses a job leaves one by one


def train_epochs(
    config: Config,
    work: Work,
    population: Population | Workers,
    data: Data,
    curves: Curves,
    folder: Path,
    reporter: Reporter,
) -> list[dict[str, Table]]:
    """Train through all epochs, logging to the curves and the bar; return each trial's metrics."""
    rates = [float(trial.params["dropout"]) for trial in work.trials]
    halving_epochs = rungs(config.train.epochs) if is_halved(config, work) else set()
    training = list(range(len(work.trials)))  # the places of the trials still in training
    history: list[dict[str, Table]] = [{} for _ in training]
    for epoch in range(1, config.train.epochs + 1):
        metrics = train_epoch(population, data, epoch, config.train.batch_size, reporter)
        curves.log(epoch, metrics)
        for metric, table in metrics.items():
            for trial, row in zip(training, table, strict=True):
                history[trial].setdefault(metric, []).append(row)
        means = [fmean(row) for row in metrics[config.study.metric]]
        text = f"{work.title}, epoch {epoch}/{config.train.epochs}"
        searched = work.generation < CONFIRMATION  # others have other seeds, or more
        pairs = zip(means, (rates[trial] for trial in training), strict=True)
        reporter.describe(text, pairs if searched else ())
        raise_if_revoked(folder)
        stop_if_asked()
        if epoch in halving_epochs:
            places = survivors([work.trials[trial].params for trial in training], means)
            n_gone = (len(training) - len(places)) * len(work.seeds)
            reporter.add_work(-n_gone * (config.train.epochs - epoch))
            training = [training[place] for place in places]
            population.select(places)
            curves.select(places)
    return history


def is_halved(config: Config, work: Work) -> bool:
    return config.study.prune == "halving" and work.generation < CONFIRMATION


def train_epoch(
    population: Population | Workers, data: Data, epoch: int, size: int, reporter: Reporter
) -> dict[str, Table]:
    """Train for one epoch, counted from 1, in batches of a size; return its metrics."""
    part = population.n_members / math.ceil(len(data.train) / size)
    on_loss = population.train_epoch(data.train, epoch - 1, lambda n: reporter.advance(n * part))
    return {
        **evaluate_epoch(population, data, epoch),
        DROPOUT_ON: _table(population, on_loss),
    }


def evaluate_epoch(population: Population | Workers, data: Data, epoch: int) -> dict[str, Table]:
    """Evaluate every member, dropout off, on validation samples and as many training samples."""
    metrics = {}
    for part, split in (("val", data.val), ("train", data.train_part)):
        for name, values in population.evaluate(split, epoch).items():
            metrics[f"{part}_{name}"] = values
    metrics["gap"] = metrics["val_loss"] - metrics["train_loss"]
    return {name: _table(population, values) for name, values in metrics.items()}


def _table(population: Population | Workers, values: Tensor) -> Table:
    """Return a value of each member (K,) as P rows of S numbers."""
    return values.view(-1, len(population.seeds)).tolist()


@dataclass(frozen=True)
class Tested:
    """What a trial's networks do on samples that training never saw, after the last epoch."""

    test: dict[str, list[float]]  # test_loss ...: (S,); empty if there is no test set
    samples: dict[str, list[float]]  # loss ...: what each sample adds to the mean over seeds


def test_members(population: Population | Workers, config: Config, data: Data) -> list[Tested]:
    """Evaluate every trial on the test samples; sample by sample on validation if there are none.

    Of more than MOST_SAMPLES some are taken together.
    """
    split, last = load_test_split(config.data, data), config.train.epochs
    taken = data.val if split is None else split
    sums = population.evaluate_groups(taken, last, MOST_SAMPLES)
    name = metric_of(taken.targets, config.train)
    metrics = finish_outcomes(sums.sum(-1), name) if split is not None else {}
    tables = {f"test_{metric}": _table(population, values) for metric, values in metrics.items()}
    shares = sums[::2] / sums[1::2].sum(-1, keepdim=True) * sums.shape[-1]
    each = shares.view(2, -1, len(population.seeds), shares.shape[-1]).mean(2)  # (2, P, groups)
    places = {"loss": 0} if name == "rmse" or not sums[3].any() else {"loss": 0, name: 1}
    return [
        Tested(
            {metric: table[trial] for metric, table in tables.items()},
            {metric: _rounded(each[place, trial]) for metric, place in places.items()},
        )
        for trial in range(each.shape[1])
    ]


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in values.tolist()]
