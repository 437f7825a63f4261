"""Study storage: SQLite in the study's folder, or a database server, which may be briefly away."""

import itertools
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partialmethod
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import URL, create_engine, inspect, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from sweep.errors import BadInput, Unreachable, first_line, mask_passwords, without_secrets

PATIENCE = 300.0  # seconds that a database may be away
DAMAGED = ("not a database", "malformed", "no such", "schema", "constraint failed")
BUSY = 60  # seconds that SQLite waits for another process by itself


def sqlite_url(path: Path) -> str:
    """Return the URL of a file, whatever is in its name that Python can read."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown, how = os.fsencode(path).decode(errors="replace"), "LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        raise BadInput(f"{shown}: Python reads file names as ASCII here; set {how}") from None
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """Return the file behind a URL of SQLite, None for another database's."""
    place = make_url(url)
    if place.get_backend_name() != "sqlite":
        return None
    return Path((place.database or "").removeprefix("file:"))


def create_database(path: Path) -> None:
    """Make a database, whole or not at all, if there is none.

    A process that is killed while it makes one leaves tables without their indexes, and without
    these a study may come to be in it twice.
    """
    if path.exists():
        return
    for part in path.parent.glob(f"{path.name}.tmp*"):  # SQLite keeps a journal next to it
        part.unlink()
    temporary = path.with_name(f"{path.name}.tmp")
    with reaching_storage(sqlite_url(path)):
        database = RDBStorage(sqlite_url(temporary))
    database.remove_session()
    database.engine.dispose()
    os.replace(temporary, path)


def open_study(url: str, name: str, folder: Path) -> optuna.Study:
    """Create a study or open it; raise Unreachable if there is no storage behind the URL."""
    with reaching_storage(url):
        study = optuna.create_study(storage=_storage(url), study_name=name, load_if_exists=True)
        _check_minimises(study)
        if "fingerprint" not in study.user_attrs and study.get_trials(deepcopy=False):
            raise _of_others(name, folder)
        return study


def _of_others(name: str, folder: Path) -> BadInput:
    own, text = folder / "study.db", f"study.name={name}: is another program's study"
    if own.is_file() and (folder / "jobs").is_dir():
        return BadInput(f"{text}, or lost its attributes; {made_again(own, folder)}")
    return BadInput(f"{text}; choose another")


def made_again(what: str | Path, folder: Path) -> str:
    """Say how a study comes back that cannot be used as it is."""
    return f"remove {what} and the same command makes it again from {folder / 'jobs'}"


def _check_minimises(study: optuna.Study) -> None:
    if study.directions != [StudyDirection.MINIMIZE]:
        key = f"study.name={study.study_name}"
        raise BadInput(f"{key}: minimises no single number; choose another")


def load_study(url: str, folder: Path, alone: bool) -> optuna.Study:
    """Open the study of a folder, and write nothing; raise BadInput if there is none.

    alone: one that has its storage to itself may have another name: its folder was renamed.
    """
    name, shown = folder.name, f"study.storage={mask_passwords(url)}"
    with reaching_storage(url):
        if not _holds_studies(url):
            raise BadInput(f"{shown}: holds no studies")
        storage = _storage(url)
        known = optuna.get_all_study_summaries(storage, include_best_trial=False)
        names = [study.study_name for study in known]
        ours = [study.study_name for study in known if "fingerprint" in study.user_attrs]
        if alone and name not in ours and len(ours) == 1:
            (name,) = ours
        if name not in names:
            raise BadInput(f"{name}: is not in {shown}, which has {', '.join(names) or 'none'}")
        study = optuna.load_study(storage=storage, study_name=name)
        _check_minimises(study)
        if name not in ours:
            raise _of_others(name, folder)
        return study


def _holds_studies(url: str) -> bool:
    """Return whether there are tables of studies, which Optuna would make."""
    file = sqlite_file(url)
    if file and not file.is_file():
        return False  # SQLite would make it
    engine = create_engine(url)
    try:
        return inspect(engine).has_table("studies")
    finally:
        engine.dispose()


def _storage(url: str) -> BaseStorage:
    sqlite = url.startswith("sqlite")
    kwargs = {"connect_args": {"timeout": BUSY}} if sqlite else {"pool_pre_ping": True}
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna formats its URLs
    database = RDBStorage(escaped, engine_kwargs=kwargs)
    return PatientStorage(database, url)  # type: ignore[abstract]  # its methods are made below


@contextmanager
def reaching_storage(url: str) -> Iterator[None]:
    """Say in one line why there is no storage behind a URL, or not the one that is meant."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError) as error:
        why = short_reason(error, url) + _advice(error, url)
        if isinstance(error.__cause__ or error, ModuleNotFoundError):  # of the database's driver
            why += "; try uv run --extra postgresql and postgresql+psycopg://..."
        raise Unreachable(f"study.storage={mask_passwords(url)}: {why}") from None
    except BadInput:
        raise
    except ValueError as error:  # of a port that is none, or a study of several values
        raise BadInput(f"study.storage={mask_passwords(url)}: {short_reason(error, url)}") from None


def _advice(error: Exception, url: str) -> str:
    """Say what to do about a study's own file that is damaged, or of another Optuna."""
    text = f"{error} {error.__cause__}"
    if not any(said in text for said in DAMAGED):
        return ""
    file = sqlite_file(url)
    if file is None or not (file.parent / "jobs").is_dir():
        return ""
    return f"; {made_again(file, file.parent)}"


def name_value(study: optuna.Study, metric: str) -> None:
    """Say what the trials' values are, for those who look at them elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([metric])


def short_reason(error: BaseException, url: str) -> str:
    return without_secrets(url, first_line(error.__cause__ or error))


def is_away(error: BaseException) -> bool:
    """Return whether the database may be back soon: it is down, or another process holds it."""
    cause = error.__cause__ or error
    if "(sqlite3." in str(cause):
        return "locked" in str(cause)
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


class PatientStorage(BaseStorage):
    """Optuna's storage, every call of which waits for a database that is away."""

    def __init__(self, database: RDBStorage, url: str) -> None:
        self.storage, self.database, self.url = optuna.storages.get_storage(database), database, url

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the storage; raise Unreachable if the database stays away."""
        begin, method = time.monotonic(), getattr(self.storage, name)
        for attempt in itertools.count():
            try:
                if attempt and name == "create_new_trial" and self.has_trial(*args, **kwargs):
                    return None  # written by the attempt before, and then the connection broke
                return method(*args, **kwargs)
            except (SQLAlchemyError, StorageInternalError) as error:
                text = f"study.storage={mask_passwords(self.url)}: {short_reason(error, self.url)}"
                if not is_away(error):
                    raise Unreachable(f"{text}{_advice(error, self.url)}") from error
                if time.monotonic() - begin > PATIENCE:
                    raise Unreachable(f"{text}; run the same command to resume") from error
            with suppress(SQLAlchemyError):
                self.database.remove_session()  # with the transaction that broke
            if not attempt:
                print(f"\nwarning: {text}: waiting for it", file=sys.stderr)
            time.sleep(min(0.1 * 2**attempt, 5.0))

    def has_trial(self, study_id: int, template_trial: FrozenTrial) -> bool:
        """Return whether a trial, which knows its number, is in the storage."""
        return self.storage.get_n_trials(study_id) > template_trial.number


for name in BaseStorage.__abstractmethods__:  # Optuna's whole interface to a storage
    setattr(PatientStorage, name, partialmethod(PatientStorage.call, name))
PatientStorage.__abstractmethods__ = frozenset()
