"""A study in which another program, or another version of this one, has written."""

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweep.answer.row import numbered_rows, searched_axes
from sweep.errors import BadInput, mask_passwords
from sweep.study.fingerprint import RECORDS

OF_REPORTS = ("config", "guess", "sources", "versions", "warnings")  # attributes, beside the trials


def check_untouched(study: optuna.Study, folder: Path, url: str | None) -> None:
    """Raise BadInput if a study holds what its command did not record.

    url: of a storage of its own; None if the study is kept in its folder.
    """
    key = f"study.name={study.study_name}"
    if study.user_attrs["fingerprint"].get("records") != RECORDS:
        other = "was begun with another version of this program"
        raise BadInput(f"{key}: {other}; choose another name, or remove {folder}")
    if wrong := _what_is_wrong(study):
        what = f"the study from {mask_passwords(url)}" if url else str(folder / "study.db")
        how = f"remove {what} and the same command makes it again from {folder / 'jobs'}"
        raise BadInput(f"{key}: {wrong} by another program; {how}, or choose another name")


def check_described(study: optuna.Study) -> None:
    """Raise BadInput if a study lacks what a report reads beside the trials."""
    if missing := [key for key in OF_REPORTS if key not in study.user_attrs]:
        how = "its command, given again, puts it back"
        raise BadInput(f"study.name={study.study_name}: lacks the attribute {missing[0]}; {how}")


def _what_is_wrong(study: optuna.Study) -> str | None:
    try:
        keys = {axis.key for axis in searched_axes(study)}
        for trial in study.get_trials(deepcopy=False):
            if wrong := _what_is_wrong_with(trial, keys):
                return f"its trial {trial.number} was {wrong}"
        numbered_rows(study)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"its records were changed ({type(error).__name__}: {error})"
    return None


def _what_is_wrong_with(trial: FrozenTrial, keys: set[str]) -> str | None:
    if not trial.state.is_finished():
        return "begun"
    ours = "trained" if trial.state == TrialState.COMPLETE else "reason"
    if ours not in trial.user_attrs:
        return "told"
    return None if trial.params.keys() == keys else "changed"
