"""What each setting of a command line is: fixed, searched, or one study for each value."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from omegaconf import DictConfig, OmegaConf

from sweep.command.arguments import check_arguments
from sweep.command.hints import unknown_key
from sweep.errors import BadInput

SEARCHED = "dropout, model.* numbers, train.lr and train.weight_decay"
EACH = "config groups, data.*, train.epochs, train.batch_size and what study.each lists"


@dataclass(frozen=True)
class Roles:
    """The settings of a command line by what they are."""

    fixed: tuple[Override, ...]
    searched: tuple[Override, ...]  # dropout first
    each: tuple[tuple[Override, ...], ...]  # of which every combination is a study
    typed: frozenset[str]  # keys that the command line sets


def read_roles(
    loader: ConfigLoader, base: DictConfig, defaults: Sequence[str], arguments: Sequence[str]
) -> Roles:
    """Tell the settings apart; `defaults` are searched unless the command line sets them."""
    _check_defaults(defaults)
    parser = OverridesParser.create(loader)
    given = parser.parse_overrides(list(arguments))
    keys = {override_key(override) for override in given}
    default = [o for o in parser.parse_overrides(list(defaults)) if override_key(o) not in keys]
    found: dict[str, list[Override]] = {"fixed": [], "studies": [], "searched": []}
    for override in default + given:
        _warn_duplicates(override)
        found[_role(loader, base, override)].append(override)
    each = tuple(_listed_choices(parser, override) for override in found["studies"])
    # sorted: dropout is first, and the order on the command line changes nothing
    searched = tuple(sorted(found["searched"], key=override_key))
    if not searched or override_key(searched[0]) != "dropout":
        raise BadInput("hydra.sweeper.params: must hold a search for dropout")
    return Roles(tuple(found["fixed"]), searched, each, frozenset(keys))


def _check_defaults(defaults: Sequence[str]) -> None:
    try:
        check_arguments(defaults, [])
    except BadInput as error:
        raise BadInput(f"hydra.sweeper.params.{error}") from None


def _role(loader: ConfigLoader, base: DictConfig, override: Override) -> str:
    """Return an override's role: fixed, searched, or studies (one for each value)."""
    key = override_key(override)
    if key == "dropout":
        return "searched"
    if not override.is_sweep_override():
        return "fixed"
    if _makes_studies(loader, base, override):
        return "studies"
    if key.startswith("model.") or key in ("train.lr", "train.weight_decay"):
        return "searched"
    if OmegaConf.select(base, key, default=base) is base:
        raise no_such(base, override)
    raise BadInput(
        f"{override.input_line}: {key} cannot be swept; searched in one study: {SEARCHED}; "
        f"one study each: {EACH}"
    )


def _warn_duplicates(override: Override) -> None:
    value = override.value()
    listed = value.list if isinstance(value, ChoiceSweep) else []
    doubles = len(listed) - len({str(choice) for choice in listed})
    if doubles:
        print(f"warning: {override.input_line}: each value is used once", file=sys.stderr)


def override_key(override: Override) -> str:
    return str(override.key_or_group)


def _makes_studies(loader: ConfigLoader, base: DictConfig, override: Override) -> bool:
    key = override_key(override)
    listed = base.study.each
    if key in listed or key in ("train.epochs", "train.batch_size") or key.startswith("data."):
        return True
    if key in base.hydra.runtime.choices:
        return True
    return "." not in key and bool(loader.get_group_options(key, ObjectType.CONFIG))


def _listed_choices(parser: OverridesParser, override: Override) -> tuple[Override, ...]:
    if not override.is_discrete_sweep():
        raise BadInput(
            f"{override.input_line}: makes one study for each value, so it must be a list"
        )
    key = override.get_key_element()
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise BadInput(f"{override.input_line}: the list is empty")
    return tuple(parser.parse_overrides([f"{key}={choice}" for choice in choices]))


def no_such(config: DictConfig, override: Override) -> BadInput:
    key = override_key(override)
    owner = key.rpartition(".")[0]
    node = OmegaConf.select(config, owner) if owner else config
    beside = list(node) if isinstance(node, DictConfig) else []
    known = [f"{owner}.{name!s}".lstrip(".") for name in beside]
    return BadInput(f"{override.input_line}: {unknown_key(key, known)}")
