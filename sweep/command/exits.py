"""How a command ends: mistakes and unavailable data print one line and have their own exit code."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from sweep import stop
from sweep.command.hints import one_line
from sweep.command.streams import lasting_streams
from sweep.errors import BadInput, Unreachable, named_line

COMPOSES = "hydra._internal.config_loader_impl"  # runs nobody's code, only reads their files


def exit_code(work: Callable[[], int]) -> int:
    """Run a command; return its exit code, or 2, 3, 130 or 143 if an error or a signal ended it."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing and exiting
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # prints "?" if a terminal knows only ASCII
    try:
        with lasting_streams():
            return _code_of(work, full=before == "1")
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def _code_of(work: Callable[[], int], full: bool) -> int:
    with stop.signals_heard():
        try:
            return work()
        except KeyboardInterrupt:
            return _code_of_stop()
        except Exception as error:
            if stop.asked_by:  # a library on its way turned the interrupt into an error
                return _code_of_stop()
            told = in_one_line(error)
            if full or told is None:
                raise
            print(f"error: {told}", file=sys.stderr)
            return 3 if isinstance(told, Unreachable) else 2


def _code_of_stop() -> int:
    print(stop.LINE, file=sys.stderr)
    return 143 if stop.asked_by == signal.SIGTERM else 130


def in_one_line(error: Exception) -> BadInput | Unreachable | None:
    """Return an error that is a mistake or unavailable data as one line; None for any other."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [str(frame.f_globals.get("__name__")) for frame in frames]
    match error:
        case Unreachable():
            return Unreachable(one_line(error))
        case BadInput() | HydraException() | OmegaConfBaseException() | YAMLError():
            return BadInput(one_line(error))
        case ValueError() if modules[-1].startswith(("hydra.", "omegaconf.")):
            return BadInput(one_line(error))  # which Hydra raises for some mistakes
        case _ if COMPOSES in modules:
            return BadInput(f"{_file_read(frames)}: {_why_not_composed(error)}")
        case OSError():
            return Unreachable(f"{error.filename or 'a file'}: {error.strerror}")
    return None


def _file_read(frames: Sequence[FrameType]) -> str:
    """Return the config file that Hydra was reading, if there was one."""
    paths = (frame.f_locals.get("config_path") for frame in reversed(frames))
    return str(next(filter(None, paths), "config files"))


def _why_not_composed(error: BaseException) -> str:
    match error:
        case RecursionError():
            return "a defaults list names itself, perhaps by way of another"
        case UnicodeDecodeError():
            return f"is not in UTF-8 (byte {error.start})"
    return f"cannot be composed ({named_line(error)})"
