"""python -m sweep.run: the command. A user's mistake prints one line and exits with code 2."""

import io
import sys
from contextlib import redirect_stdout, suppress
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
        multirun(_job, typed.overrides, typed.source, log=True)
    return 0


def _job(cfg: "DictConfig") -> str | None:
    from sweep.jobs.job import run_job

    return run_job(cfg)


def _show(typed: "Typed") -> None:
    """Let Hydra print what it is asked for, but no password, and of a search the default."""
    import hydra

    from sweep.command.arguments import is_sweep
    from sweep.command.notices import silence_notices
    from sweep.errors import mask_passwords
    from sweep.places import CONF, PRIMARY

    silence_notices()
    for swept in filter(is_sweep, typed.overrides):
        said = f"{swept}: is searched; what is shown is the default"
        print(mask_passwords(said), file=sys.stderr)
    sys.argv[1:] = [*typed.flags, *(one for one in typed.overrides if not is_sweep(one))]
    with redirect_stdout(io.StringIO()) as shown, suppress(SystemExit):  # of --hydra-help
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)(_job)()
    print(mask_passwords(shown.getvalue()), end="")


if __name__ == "__main__":
    quiet_start()
    leave(main())
