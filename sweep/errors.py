"""The errors of this project, and how each is said in one line.

ValueError
  BadInput            a user's mistake                                   exit code 2
Exception
  Unreachable         data, a storage or a machine that cannot be had    exit code 3
    DataUnavailable     files that are not there
    DataDamaged         files that are not what they should be
  SweepFailed         no trial of a study gave a result                  exit code 1
  Differs             a fused population does not train as plain PyTorch does: it trains again
  WorkerFailed        a forked process failed at what it was to do: it is done again without one
    WorkerDied          it has ended
BaseException
  Revoked             a study no longer waits for this job
"""

import re
from typing import Any
from urllib.parse import unquote


class BadInput(ValueError):
    """A user's mistake in one line: the key, the value and what is allowed."""


class Unreachable(Exception):
    """Data or a storage that cannot be had, or is damaged; said in one line."""


class DataUnavailable(Unreachable):
    """The files are neither on disk nor to be had by download."""


class DataDamaged(Unreachable):
    """A file is there, but it is not what it should be."""


class SweepFailed(Exception):
    """A study gave no result: all of its jobs or all of its trials failed."""


class Differs(Exception):
    """A population was seen to train otherwise than plainly: it is trained again, plainly."""

    def __init__(self, why: str, draws: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.why, self.draws = why, draws


class WorkerFailed(Exception):
    """A forked process failed at what it was to do: that is done again without one."""


class WorkerDied(WorkerFailed):
    """A forked process has ended before it had done what it was to do."""


class Revoked(BaseException):
    """The study no longer waits for this job; an `except Exception` must not swallow it."""


def require(ok: bool, key: str, value: Any, allowed: str) -> None:
    if not ok:
        raise BadInput(f"{key}={value}: {allowed}")


def between(key: str, value: int, least: int, most: int) -> None:
    require(least <= value <= most, key, value, f"must be from {least} to {most}")


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    require(value in allowed, key, value, f"must be one of {', '.join(allowed)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the error's type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def last_line(text: str) -> str:
    """Return the last line of a traceback, which names the error."""
    return (text.strip().splitlines() or [""])[-1]


def named_line(error: BaseException) -> str:
    """Return an error's type and the first line of its text."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def mask_passwords(text: str) -> str:
    """Return a text without the passwords of the URLs in it; each URL ends with its line.

    A password may contain blanks, so the mask is rather too long than too short.
    """
    text = re.sub(r"(://[^:/@\s]*:)(?!\*\*\*@).*@", r"\1***@", text)
    return re.sub(r"([?&]\w*(password|passwd|pwd)=)(?!\*\*\*)[^&\n]*", r"\1***", text, flags=re.I)


def without_secrets(secrets: str, text: str) -> str:
    """Return a text without what is masked in a URL, whole or in pieces."""
    shown = mask_passwords(secrets)
    text = text.replace(secrets, shown)
    for piece in re.split(r"[@/?&=:' ]+", f"{secrets} {unquote(secrets)}"):
        if len(piece) > 2 and piece not in shown:
            text = text.replace(piece, "***")
    return text
