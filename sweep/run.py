"""python -m sweep.run: the command. A mistake is one line and exit code 2; see --help."""

import sys
from pathlib import Path

HELP = Path(__file__).parent / "help.txt"
CONF = Path(__file__).parent.parent / "conf"
SHOW = {"--cfg", "-c", "--info", "-i", "--version", "--hydra-help", "--shell-completion", "-sc"}
OF_OPTUNA_SWEEPER = {  # its keys -> ours
    "n_trials": "study.n_trials=...",
    "study_name": "study.name=...",
    "storage": "study.storage=...",
    "sampler": "sampler=...",
    "n_jobs": "hydra/launcher=joblib",
    "direction": "nothing: the validation loss is minimised",
    "max_failure_rate": "nothing: a failed trial never stops the others",
    "search_space": "the override syntax, such as dropout=interval(0,0.8)",
}


def main() -> int:
    """Run the command line; return its exit code."""
    # given before or after other arguments; it is put in again below, first
    arguments = sys.argv[1:] = [a for a in sys.argv[1:] if a not in ("-m", "--multirun")]
    if {"--help", "-h"} & set(arguments):
        print(HELP.read_text(), end="")
        return 0
    from sweep.exits import exit_code

    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    _check(arguments)
    if not any(argument.split("=")[0] in SHOW for argument in arguments):
        # Hydra forgets hydra.mode on any mistake and then blames a list for it
        sys.argv.insert(1, "--multirun")
    _app()
    return 0


def _app() -> None:
    import hydra
    from omegaconf import DictConfig

    def job(cfg: DictConfig) -> str | None:
        from sweep.job import run

        return run(cfg)

    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()


def _check(arguments: list[str]) -> None:
    """Refuse what Hydra would explain in many lines or not at all."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from sweep.config import BadInput

    for argument in arguments:
        bare = argument.lstrip("+").replace("'", "").replace('"', "").lower()
        if argument in ("--run", "-r", "--experimental-rerun") or bare == "hydra.mode=run":
            raise BadInput(f"{argument}: a study is a multirun; leave it out")
        if argument.startswith("-") or "=" not in argument:
            continue
        key = argument.partition("=")[0].lstrip("+")
        if key in ("population", "hydra.sweep.subdir", "hydra.launcher", "hydra.sweeper"):
            raise BadInput(f"{argument}: is the study's own; leave it out")
        ours = OF_OPTUNA_SWEEPER.get(key.removeprefix("hydra.sweeper."))
        if key.startswith("hydra.sweeper.") and ours:
            raise BadInput(f"{key} is a key of hydra-optuna-sweeper; here it is {ours}")
        if key == "model.dropout":
            raise BadInput(f"{argument}: use dropout=, which every model reads")
        try:
            OverridesParser.create().parse_override(argument)
        except HydraException as error:
            reason = str(error).strip().splitlines()[0]
            raise BadInput(f"{argument}: not Hydra's syntax ({reason})") from None


if __name__ == "__main__":
    sys.exit(main())
