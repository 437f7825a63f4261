"""How a command ends: mistakes and unavailable data print one line and have their own exit code."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType

terminated = False  # by SIGTERM, which is handled like Ctrl-C except for the exit code


def exit_code(work: Callable[[], int]) -> int:
    """Run a command; return its exit code, or 2, 3, 130 or 143 if an error or a signal ended it."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    from sweep.command.hints import one_line
    from sweep.errors import BadInput, Unreachable

    signal.signal(signal.SIGTERM, _terminate)
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing and exiting
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # prints "?" if a terminal knows only ASCII
    try:
        return work()
    except (BadInput, HydraException, OmegaConfBaseException, Unreachable, YAMLError) as error:
        if full:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 3 if isinstance(error, Unreachable) else 2
    except ValueError as error:  # which Hydra raises for some mistakes
        if full or not _raised_by_hydra(error):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        if full:
            raise
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command to resume", file=sys.stderr)
        return 143 if terminated else 130


def _raised_by_hydra(error: BaseException) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(("hydra.", "omegaconf."))


def _terminate(number: int, frame: FrameType | None) -> None:
    global terminated
    terminated = True  # libraries on its way would catch an exception of our own
    raise KeyboardInterrupt
