"""Checks the command line for mistakes that Hydra would explain in many lines, or not at all."""

import importlib.util
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from sweep.errors import BadInput, first_line
from sweep.places import conf_folders

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
EXTRAS = {  # launcher -> the extra in pyproject.toml that installs it
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
}
NO_NAME = (int, float, list, type(None))
FLAGS = (  # Hydra's
    *("--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i", "--hydra-help", "--version"),
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--shell-completion", "-sc"),
)
OF_HYDRA = (
    "hydra/launcher",
    "hydra.launcher.",
    "hydra.sweep.dir",
    "hydra.searchpath",
    "hydra.verbose",
)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise BadInput for the first argument that is a mistake."""
    seen: set[str] = set()
    for argument in arguments:
        bare = argument.lstrip("+").replace("'", "").replace('"', "").lower()
        if argument in ("--run", "-r", "--experimental-rerun") or bare == "hydra.mode=run":
            raise BadInput(f"{argument}: a study is a multirun; leave it out")
        if not argument.strip():
            raise BadInput(f"{argument!r}: must be <key>=<value>")
        if argument.startswith("-") and argument.partition("=")[0] not in FLAGS:
            raise BadInput(f"{argument}: unknown flag; settings are <key>=<value>, see --help")
        if argument.startswith("-") or ("=" not in argument and argument[:1] != "~"):
            continue
        override = parse_override(argument)
        key = str(override.key_or_group)
        if key.startswith("hydra"):
            _check_hydra(key, argument)
            if key == "hydra/launcher":
                if override.value() is None:
                    raise BadInput(f"{argument}: must be the name of a launcher")
                check_installed(str(override.value()))
            continue
        if override.is_add() or override.is_force_add() or override.is_delete():
            raise BadInput(f"{argument}: keys cannot be added or removed")
        if key == "work":
            raise BadInput(f"{argument}: is set by the study; leave it out")
        if key == "model.dropout":
            raise BadInput(f"{argument}: use dropout=, which every model reads")
        if isinstance(override.value(), dict) and "." not in key:
            raise BadInput(f"{key}: set its keys one by one, such as {key}.<key>=<value>")
        group = any((conf / key).is_dir() for conf in conf_folders())
        if group and any(isinstance(v, NO_NAME) for v in _given_values(override)):
            raise BadInput(f"{argument}: must be the name of a file in conf/{key}")
        if key in seen:
            raise BadInput(f"{argument}: {key} is given twice")
        seen.add(key)


def check_installed(name: str) -> None:
    """Raise BadInput for a launcher whose plugin is missing."""
    extra = EXTRAS.get(name)
    if extra and not importlib.util.find_spec(f"hydra_plugins.hydra_{extra}_launcher"):
        raise BadInput(f"hydra/launcher={name}: is not installed; try uv run --extra {extra}")


def _given_values(override: Override) -> Sequence[object]:
    """Return the given values: those of a list, or the single one."""
    value = override.value()
    return value.list if isinstance(value, ChoiceSweep) else [value]


def parse_override(argument: str) -> Override:
    try:
        if not argument.partition("=")[0]:
            raise BadInput(f"{argument}: must be <key>=<value>")
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise BadInput(f"{argument}: not Hydra's syntax ({first_line(error)})") from None


def _check_hydra(key: str, argument: str) -> None:
    """Raise BadInput for keys of Hydra that would have no effect here, or an unexpected one."""
    ours = OF_OPTUNA_SWEEPER.get(key.removeprefix("hydra.sweeper."))
    if key.startswith("hydra.sweeper.") and ours:
        raise BadInput(f"{key} is a key of hydra-optuna-sweeper; here it is {ours}")
    multirun = key == "hydra.mode" and argument.upper().endswith("MULTIRUN")
    if not (multirun or key.startswith(OF_HYDRA)) or key.endswith("_target_"):
        raise BadInput(f"{argument}: of Hydra's own keys only {', '.join(OF_HYDRA)} may be set")
