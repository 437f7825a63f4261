"""python -m sweep.run: the command. A user's mistake prints one line and exits with code 2."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

from sweep.command.streams import lasting_streams

HELP = Path(__file__).parent / "help.txt"
SHOW = {"--cfg", "-c", "--info", "-i", "--version", "--hydra-help", "--shell-completion", "-sc"}


def main() -> int:
    """Run the command line; return its exit code."""
    # removed wherever it was typed; _run puts it first
    arguments = sys.argv[1:] = [a for a in sys.argv[1:] if a not in ("-m", "--multirun")]
    if {"--help", "-h"} & set(arguments):
        with lasting_streams():
            print(HELP.read_text(), end="")
        return 0
    from sweep.command.exits import exit_code

    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    from sweep.command.arguments import check_arguments

    check_arguments(arguments)
    if any(argument.split("=")[0] in SHOW for argument in arguments):
        _show()
        return 0
    # without the flag, Hydra loses hydra.mode after any mistake and reports a list as the error
    sys.argv.insert(1, "--multirun")
    _app()
    return 0


def _show() -> None:
    """Let Hydra print what it is asked for, but no password."""
    from sweep.errors import mask_passwords

    with redirect_stdout(io.StringIO()) as shown:
        _app()
    print(mask_passwords(shown.getvalue()), end="")


def _app() -> None:
    import hydra
    from omegaconf import DictConfig

    from sweep.command.program import allow_schemas
    from sweep.places import CONF, PRIMARY

    def job(cfg: DictConfig) -> str | None:
        from sweep.jobs.job import run_job

        return run_job(cfg)

    allow_schemas()
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)(job)()


if __name__ == "__main__":
    sys.exit(main())
