"""Where a study is kept: SQLite beside it, or a database."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from sweep.config import Unreachable


def open_study(url: str, name: str) -> optuna.Study:
    """Open a study in a storage; raise Unreachable where there is none behind the URL."""
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna formats its URLs
        storage = optuna.storages.RDBStorage(escaped, engine_kwargs=wait)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise Unreachable(f"study.storage={shown(url)}: {reason}") from None


def name_value(study: optuna.Study, metric: str) -> None:
    """Say what the trials' values are, for those who look at them elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([metric])


def shown(url: str) -> str:
    """Return a storage's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)
