"""Seeds that trials gain after they were recorded, since study.seeds has grown.

Optuna refuses to change a finished trial, so they stand in the study's attributes.
"""

import sys

import optuna

from sweep.answer.row import COMPLETE, added_key, numbered_rows
from sweep.errors import SweepFailed, last_line
from sweep.jobs.training import Points, Training, TrainingRequests
from sweep.study.record import trained_summary
from sweep.work import ADDED, seeds_of


def add_seeds(study: optuna.Study, training: Training) -> TrainingRequests[None]:
    """Train what has fewer seeds than study.seeds on those that it lacks, and record it.

    Raises SweepFailed, and records nothing, if all that was trained together failed.
    """
    config = training.plan.config
    lacking = _lacking_points(study, config.study.seeds)
    if lacking:
        kept = "the values in Optuna stay those of the first seeds"
        print(f"{training.name}: seeds are added; {kept}", file=sys.stderr)
    for (generation, n_before), points in lacking.items():
        seeds = seeds_of(generation, config.study.seeds)[n_before:]
        training.bar.add_work(len(points) * len(seeds) * config.train.epochs, "more seeds")
        outcomes = yield from training.outcomes(ADDED * n_before + generation, seeds, points)
        errors = [outcome.error for outcome in outcomes.values() if outcome.error]
        if len(errors) == len(outcomes):
            raise SweepFailed(errors[0])
        for number, outcome in outcomes.items():
            key = added_key(generation, number, n_before)
            if outcome.error or outcome.diverged is not None:
                why = last_line(outcome.error or f"diverged at epoch {outcome.diverged}")
                study.set_user_attr(key, {"reason": f"{why}, with a seed that was added"})
            else:
                study.set_user_attr(key, trained_summary(outcome, config.study.metric))


def _lacking_points(study: optuna.Study, n_seeds: int) -> dict[tuple[int, int], Points]:
    """Return, by generation and by how many seeds they have, the points that lack some."""
    groups: dict[tuple[int, int], dict[int, dict[str, object]]] = {}
    for number, row in numbered_rows(study):
        if row.state == COMPLETE and len(row.seeds) < n_seeds:
            group = groups.setdefault((row.generation, len(row.seeds)), {})
            group[number] = dict(row.params)
    return dict(sorted(groups.items()))
