"""python -m sweep.run: the command. A user's mistake prints one line and exits with code 2."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.command.streams import lasting_streams
from sweep.stop import leave, quiet_start

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from sweep.command.flags import Typed

HELP = Path(__file__).parent / "help.txt"


def main() -> int:
    """Run the command line; return its exit code."""
    arguments = [a for a in sys.argv[1:] if a not in ("-m", "--multirun")]  # a study is one anyway
    if {"--help", "-h"} & set(arguments):
        with lasting_streams():
            print(HELP.read_text(), end="")
        return 0
    from sweep.command.exits import exit_code

    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    from sweep.command.arguments import read_command
    from sweep.command.program import multirun

    typed = read_command(arguments)
    if typed.shows:
        _show(typed)
    else:
        multirun(_job, typed.overrides, typed.places, log=True)
    return 0


def _job(cfg: "DictConfig") -> str | None:
    from sweep.jobs.job import run_job

    return run_job(cfg)


def _show(typed: "Typed") -> None:
    """Let Hydra print what it is asked for, but no password, and of a search the default."""
    from sweep.command.arguments import is_sweep
    from sweep.command.program import shown
    from sweep.errors import mask_passwords

    for swept in filter(is_sweep, typed.overrides):
        said = f"{swept}: is searched; what is shown is the default"
        print(mask_passwords(said), file=sys.stderr)
    single = [one for one in typed.overrides if not is_sweep(one)]
    print(mask_passwords(shown(typed.asked, single, typed.places)), end="")


if __name__ == "__main__":
    quiet_start()
    leave(main())
