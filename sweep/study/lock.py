"""A study is run by one process at a time; the system frees the locks of a dead one."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import optuna
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from sweep.errors import BadInput
from sweep.files import lock, naming
from sweep.study.storage import reaching_storage, sqlite_file

# taken for a connection, until it ends; PostgreSQL gives it to one at a time
ADVISORY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"


@contextmanager
def folder_lock(path: Path, name: str) -> Iterator[None]:
    """Lock a study by a file; raise BadInput, naming the owner, if another process has."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(lock(path, wait=False))
        except BlockingIOError:
            raise already_running(name, path.read_text().strip()) from None
        with naming(path):
            file.truncate(0)
            file.write(process_name())
            file.flush()
        yield


@contextmanager
def database_lock(study: optuna.Study, storage: str) -> Iterator[None]:
    """Lock a study in its storage, so that no process with another folder runs it too."""
    name, database = study.study_name, sqlite_file(storage)
    if database:
        with folder_lock(database.with_name(f"{database.name}.{name}.owner"), name):
            yield
        return
    with ExitStack() as stack:
        with reaching_storage(storage):
            connection = create_engine(storage, poolclass=NullPool).connect()
            stack.callback(_close_quietly, connection)
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            free = connection.scalar(text(ADVISORY_LOCK), {"name": name})
        if not free:
            raise already_running(name, str(study.user_attrs.get("owner", "")))
        study.set_user_attr("owner", process_name())
        yield


def _close_quietly(connection: Connection) -> None:
    with suppress(SQLAlchemyError):  # the database may have gone, and the lock with it
        connection.close()


def process_name() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def already_running(name: str, by: str) -> BadInput:
    advice = "wait for it or choose another name"
    return BadInput(f"study.name={name}: already running in {by or 'another process'}; {advice}")
