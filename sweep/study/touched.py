"""A study in which another program, or another version of this one, has written."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isclose
from pathlib import Path
from statistics import fmean

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweep.answer.confirmation import read_confirmations
from sweep.answer.row import numbered_rows, searched_axes
from sweep.errors import BadInput, mask_passwords, named_line
from sweep.jobs.results import Results
from sweep.study.fingerprint import RECORDS, jobs_digest
from sweep.study.storage import made_again

OF_REPORTS = {  # attributes of a study, beside its trials
    "config": dict,
    "guess": dict,
    "sources": dict,
    "versions": dict,
    "warnings": list,
}


def check_untouched(study: optuna.Study, folder: Path, url: str | None) -> None:
    """Raise BadInput if a study holds what its command did not record.

    url: of a storage of its own; None if the study is kept in its folder.
    """
    key, fingerprint = f"study.name={study.study_name}", study.user_attrs["fingerprint"]
    if isinstance(fingerprint, dict) and fingerprint.get("records") != RECORDS:
        other = "was begun with another version of this program"
        raise BadInput(f"{key}: {other}; choose another name, or remove {folder}")
    with reading_records(study, folder, url):
        if wrong := _what_is_wrong(study):
            raise _made_anew(study, folder, url, f"{wrong} by another program")


@contextmanager
def reading_records(study: optuna.Study, folder: Path, url: str | None) -> Iterator[None]:
    """Say in one line what to do about records that cannot be read."""
    try:
        yield
    except BadInput:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        wrong = f"its records cannot be read ({named_line(error)})"
        raise _made_anew(study, folder, url, wrong) from error


def _made_anew(study: optuna.Study, folder: Path, url: str | None, wrong: str) -> BadInput:
    what = f"the study from {mask_passwords(url)}" if url else str(folder / "study.db")
    how = f"{made_again(what, folder)}, or choose another name"
    return BadInput(f"study.name={study.study_name}: {wrong}; {how}")


def check_described(study: optuna.Study, folder: Path) -> None:
    """Raise BadInput if a study lacks what a report needs, or if the jobs are another's."""
    if missing := [key for key in OF_REPORTS if key not in study.user_attrs]:
        how = "its command, given again, puts it back"
        raise BadInput(f"study.name={study.study_name}: lacks the attribute {missing[0]}; {how}")
    attrs = study.user_attrs
    jobs = Results(folder / "jobs", jobs_digest(attrs["fingerprint"], attrs["sources"]))
    if study.get_trials(deepcopy=False) and jobs.are_others():
        raise BadInput(f"{folder}: the jobs in it are not of the study {study.study_name}")


def _what_is_wrong(study: optuna.Study) -> str | None:
    for key, kind in {**OF_REPORTS, "fingerprint": dict}.items():
        if not isinstance(study.user_attrs.get(key, kind()), kind):
            return f"its attribute {key} was changed"
    keys = {axis.key for axis in searched_axes(study)}
    metric = study.user_attrs["fingerprint"]["metric"]
    for number, trial in enumerate(study.get_trials(deepcopy=False)):
        if trial.number != number:
            return f"its trial {number} was deleted"
        if wrong := _what_is_wrong_with(trial, keys, metric):
            return f"its trial {trial.number} was {wrong}"
    numbered_rows(study)
    read_confirmations(study.user_attrs, metric)
    return None


def _what_is_wrong_with(trial: FrozenTrial, keys: set[str], metric: str) -> str | None:
    if not trial.state.is_finished():
        return "begun"
    ours = "trained" if trial.state == TrialState.COMPLETE else "reason"
    if ours not in trial.user_attrs:
        return "told"
    as_trained = trial.params.keys() == keys
    if as_trained and trial.state == TrialState.COMPLETE:
        trained = trial.user_attrs["trained"]  # recorded beside what others may see and change
        as_trained = (
            metric in trained["metrics"]
            and isclose(trial.value or 0.0, fmean(trained[metric]))
            and trial.params == trained["params"]
        )
    return None if as_trained else "changed"
