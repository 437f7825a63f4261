"""What a study records of its trials in Optuna's storage."""

from dataclasses import asdict
from datetime import datetime
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweep.answer.curve import over_time
from sweep.answer.variance import mean_and_sem
from sweep.command.config import Config
from sweep.errors import last_line
from sweep.work import DROPOUT_ON, LOWEST, Outcome, lowest


def record_trial(
    study: optuna.Study, trial: Trial, outcome: Outcome, config: Config, begin: datetime
) -> FrozenTrial:
    """Add a trial to the study; its value is the mean over seeds after the last epoch."""
    curves = outcome.curves.get(config.study.metric, [])
    means = [fmean(values) for values in curves]
    state, attributes, value = TrialState.COMPLETE, dict[str, Any](), None
    if outcome.error or outcome.diverged is not None:
        state, means = TrialState.FAIL, []
        attributes["reason"] = last_line(outcome.error or f"diverged at epoch {outcome.diverged}")
    elif len(means) < config.train.epochs:
        state, value = TrialState.PRUNED, means[-1]
        attributes["reason"] = f"halved away at epoch {len(means)}"
    else:
        value = means[-1]
        attributes = {
            **trial_attributes(outcome),
            "trained": trained_summary(outcome, config.study.metric),
        }
    recorded = create_trial(
        state=state,
        value=value,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=attributes,
        intermediate_values=dict(enumerate(means, 1)),
    )
    recorded.number, recorded.datetime_start = trial.number, begin
    study.add_trial(recorded)
    return recorded


def record_baselines(
    study: optuna.Study, generation: int, outcomes: list[Outcome], metric: str
) -> None:
    """Record what was trained without dropout in addition to the trials of a generation."""
    failed = [o.params for o in outcomes if o.error or o.diverged]
    done = [trained_summary(o, metric) for o in outcomes if not o.error and not o.diverged]
    study.set_user_attr(f"failed:{generation}", failed)
    study.set_user_attr(_baselines_key(generation), done)


def has_baselines(study: optuna.Study, generation: int) -> bool:
    return _baselines_key(generation) in study.user_attrs


def _baselines_key(generation: int) -> str:
    return f"baselines:{generation}"


def add_warning(study: optuna.Study, warning: str) -> None:
    study.set_user_attr("warnings", [*study.user_attrs["warnings"], warning])


def record_note(study: optuna.Study, note: str) -> None:
    """Let optuna-dashboard show the answer, and why its best trial may be another one."""
    from optuna_dashboard import save_note  # takes a second

    if done := study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        note += f"""

Optuna's best trial is number {min(done, key=lambda t: t.value or 0.0).number}: its mean is the
lowest. The answer is another one where it cannot be told from that trial and is simpler, or where
the curve through all trials has its lowest point elsewhere: the lowest of many means is lucky. In
the table each value is less what its seeds cost, so it differs a little from Optuna's."""
    save_note(study, note)


def trial_attributes(outcome: Outcome) -> dict[str, Any]:
    """Return what people look for in a trial in Optuna, in addition to its value."""
    finals = outcome.finals()
    sem = mean_and_sem(finals["val_loss"])[1]
    return {"val_loss_sem": sem, "gap": fmean(finals["gap"]), "seeds": outcome.seeds}


def trained_summary(outcome: Outcome, metric: str) -> dict[str, Any]:
    """Return the final metrics of each seed, and what else a report needs of a trial."""
    finals, curves = outcome.finals(), outcome.curves
    dropout_on = curves[DROPOUT_ON][-1]
    return {
        "metrics": list(finals),
        **finals,
        **asdict(over_time(curves["val_loss"])),
        LOWEST: lowest(curves[metric]),
        "curves": {m: [fmean(v) for v in curves[m]] for m in ("val_loss", "train_loss")},
        "noise_tax": [a - b for a, b in zip(dropout_on, finals["train_loss"], strict=True)],
        "params": outcome.params,
        "seeds": outcome.seeds,
        "member_epochs_per_second": outcome.member_epochs_per_second,
        "execution": {**outcome.execution, **(asdict(outcome.way) if outcome.way else {})},
    }
