"""Where a study is kept: SQLite beside it, or a database, which may be away for a while."""

import itertools
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from sweep.config import BadInput, Unreachable
from sweep.mistake import masked

PATIENCE = 300.0  # seconds that a database may be away
BUSY = 60  # seconds that SQLite waits for another process by itself


def open_study(url: str, name: str) -> optuna.Study:
    """Create a study or open it; raise Unreachable where there is no storage behind the URL."""
    with _reached(url):
        return optuna.create_study(storage=_storage(url), study_name=name, load_if_exists=True)


def load_study(url: str, name: str) -> optuna.Study:
    """Open a study that is there; raise BadInput where it is not."""
    with _reached(url):
        storage = _storage(url)
        known = optuna.get_all_study_names(storage)
        if name not in known:
            raise BadInput(
                f"{name}: is not in {masked(url)}, which has {', '.join(known) or 'none'}"
            )
        return optuna.load_study(storage=storage, study_name=name)


def _storage(url: str) -> BaseStorage:
    sqlite = url.startswith("sqlite")
    kwargs = {"connect_args": {"timeout": BUSY}} if sqlite else {"pool_pre_ping": True}
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna formats its URLs
    patient_one: BaseStorage = PatientStorage(RDBStorage(escaped, engine_kwargs=kwargs), url)
    return patient_one


@contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        how = "uv run --extra postgresql" if error.name == "psycopg" else f"installing {error.name}"
        raise Unreachable(f"study.storage={masked(url)}: {error}; try {how}") from None
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        raise Unreachable(f"study.storage={masked(url)}: {reason(error)}") from None


def name_value(study: optuna.Study, metric: str) -> None:
    """Say what the trials' values are, for those who look at them elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([metric])


def reason(error: BaseException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0]


def away(error: BaseException) -> bool:
    """Tell whether the database may be back soon: it is down, or another process holds it."""
    cause = error.__cause__ or error
    if "(sqlite3." in str(cause):
        return "locked" in str(cause)
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


def patient(name: str) -> Callable[..., Any]:
    """Make a storage's method wait for a database that is away; raises Unreachable in the end."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        begin, method = time.monotonic(), getattr(self.storage, name)
        makes = name == "create_new_trial"
        for attempt in itertools.count():
            try:
                if attempt and makes and written(self.storage, *args, **kwargs):
                    return None  # by the attempt before, and the connection broke thereafter
                return method(*args, **kwargs)
            except (SQLAlchemyError, StorageInternalError) as error:
                text = f"study.storage={masked(self.url)}: {reason(error)}"
                if not away(error) or time.monotonic() - begin > PATIENCE:
                    raise Unreachable(f"{text}; the same command goes on from here") from error
            with suppress(SQLAlchemyError):
                self.database.remove_session()  # with the transaction that broke
            if not attempt:
                print(f"\nwarning: {text}: waiting for it", file=sys.stderr)
            time.sleep(min(0.1 * 2**attempt, 5.0))

    return call


def written(storage: BaseStorage, study_id: int, template_trial: FrozenTrial) -> bool:
    """Tell whether a trial, which knows its number, is in the storage."""
    return storage.get_n_trials(study_id) > template_trial.number


def _init(self: Any, database: RDBStorage, url: str) -> None:
    self.storage, self.database, self.url = optuna.storages.get_storage(database), database, url


# Optuna's whole interface to a storage, every call of it patient
_calls = {name: patient(name) for name in BaseStorage.__abstractmethods__}
PatientStorage = type("PatientStorage", (BaseStorage,), {"__init__": _init, **_calls})
