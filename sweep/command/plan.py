"""Reads the command line as studies: what one study searches, and what makes several studies.

Everything that needs no torch is checked here, for every study, before the first one starts.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from sweep.command.config import MOST_TRIALS, Config, job_config, typed_config
from sweep.command.hydra_keys import check_composed
from sweep.command.rate import is_rate
from sweep.command.roles import no_such, override_key, read_roles
from sweep.command.space import Axis, read_axis
from sweep.errors import BadInput, between
from sweep.work import CONFIRMATION


@dataclass(frozen=True)
class Plan:
    """One study before it starts."""

    loader: ConfigLoader
    base: DictConfig  # Hydra's config before the overrides of this study
    overrides: tuple[str, ...]  # of this study, without what is searched
    axes: tuple[Axis, ...]
    cfg: DictConfig  # base with overrides, the hydra node included
    config: Config  # the same without hydra, typed and checked
    labels: dict[str, str]  # config group -> choice

    @property
    def grid(self) -> bool:
        """Whether all axes are lists, so that every combination is trained once."""
        return all(axis.values for axis in self.axes)

    @property
    def rates(self) -> list[str]:
        """The searched keys that are dropout rates; a baseline has 0 for all of them."""
        return [axis.key for axis in self.axes if is_rate(axis.key)]

    @property
    def combinations(self) -> list[dict[str, Any]]:
        keys = [axis.key for axis in self.axes]
        points = itertools.product(*(axis.values for axis in self.axes))
        return [dict(zip(keys, point, strict=True)) for point in points]

    @property
    def n_trials(self) -> int:
        if self.grid:
            return math.prod(len(axis.values) for axis in self.axes)
        return self.config.study.n_trials

    @property
    def generation_size(self) -> int:
        """Trials proposed together; a grid is one generation, as it does not depend on results."""
        return self.n_trials if self.grid else self.config.study.generation

    @property
    def n_generations(self) -> int:
        return math.ceil(self.n_trials / self.generation_size)

    @property
    def sampler(self) -> str:
        """The sampler's name; tpe replaces zoom if more than dropout is searched."""
        if self.grid:
            return "grid"
        name = self.config.sampler.name
        return "tpe" if name == "zoom" and len(self.axes) > 1 else name

    def hydra_config(self, overrides: Sequence[str], launcher: Mapping[str, Any]) -> DictConfig:
        """Return Hydra's config for a launch, with these overrides and launcher settings."""
        config = self.loader.load_sweep_config(self.base, list(overrides))
        with open_dict(config), open_dict(config.hydra.launcher):  # plugins type their keys
            config.hydra.launcher = OmegaConf.merge(config.hydra.launcher, launcher)
        return config

    def with_data(self, name: str) -> "Plan":
        """Return the plan with another data set, and with the data.* overrides that it also has."""
        known = self.loader.load_sweep_config(self.base, [f"data={name}"]).data
        kept = [
            override
            for override in self.overrides
            if not override.startswith(("data=", "data."))
            or override.partition("=")[0].removeprefix("data.") in known
        ]
        parsed = OverridesParser.create(self.loader).parse_overrides([*kept, f"data={name}"])
        return _read_plan(self.loader, self.base, parsed, self.axes)


def read_plans(
    loader: ConfigLoader, base: DictConfig, defaults: Sequence[str], arguments: Sequence[str]
) -> list[Plan]:
    """Return the studies that a command line makes; `defaults` are searched unless it sets them."""
    roles = read_roles(loader, base, defaults, arguments)
    studies = [
        _read_plan(loader, base, [*roles.fixed, *combination], roles.searched)
        for combination in itertools.product(*roles.each)
    ]
    for plan in studies:
        check_composed(plan.cfg)
        _check_set_in_files(plan, roles.typed)
        _check_plan(plan, roles.typed)
    _check_names(studies)
    _check_shared(studies, base)
    return studies


def _check_names(plans: Sequence[Plan]) -> None:
    """Raise BadInput if studies of a command have the same name, typed or from a file."""
    names = [plan.config.study.name for plan in plans if plan.config.study.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"study.name={name}: names one study, but the command makes several")


def _check_shared(plans: Sequence[Plan], base: DictConfig) -> None:
    """Raise BadInput if a file that only some studies have names another search or launcher."""
    if any(plan.cfg.hydra.sweeper.params != base.hydra.sweeper.params for plan in plans):
        raise BadInput(
            "hydra.sweeper.params: is one for all studies of a command; give these one "
            "command each, or type what is searched"
        )
    choices = (str(plan.cfg.hydra.runtime.choices["hydra/launcher"]) for plan in plans)
    named = dict.fromkeys(choices)
    if len(named) > 1 or any(p.cfg.hydra.launcher != plans[0].cfg.hydra.launcher for p in plans):
        raise BadInput(
            f"hydra/launcher={','.join(named)}: is one for all studies of a command; type it, "
            "instead of having it in a file that is swept over"
        )


def _read_plan(
    loader: ConfigLoader,
    base: DictConfig,
    overrides: Sequence[Override],
    searched: Sequence[Override] | Sequence[Axis],
) -> Plan:
    lines = tuple(override.input_line or "" for override in overrides)
    cfg = loader.load_sweep_config(base, list(lines))
    job = job_config(cfg)
    config = typed_config(job)
    for override in overrides:
        quoted = (override.input_line or "").partition("=")[2][:1] in ("'", '"')
        if quoted and isinstance(OmegaConf.select(job, override_key(override)), int | float):
            raise BadInput(f"{override.input_line}: must be a number, not text in quotes")
    axes = [
        o if isinstance(o, Axis) else read_axis(override_key(o), o, _default_value(job, o))
        for o in searched
    ]
    choices = cfg.hydra.runtime.choices
    labels = {group: choices.get(group) for group in ("model", "data")}
    for group, choice in labels.items():
        if not isinstance(choice, str):
            raise BadInput(f"{group}: a defaults list must choose one file of conf/{group}")
    return Plan(loader, base, lines, tuple(axes), cfg, config, labels)


def _default_value(job: DictConfig, override: Override) -> Any:
    """Return the value that the key has without the search."""
    if OmegaConf.select(job, override_key(override), default=job) is job:
        raise no_such(job, override)
    return OmegaConf.select(job, override_key(override))


def _check_set_in_files(plan: Plan, typed: frozenset[str]) -> None:
    """Raise BadInput if a file sets what the study sets."""
    if plan.config.work:
        raise BadInput(f"work={plan.config.work}: is set by the study; leave it out")
    if plan.config.dropout and "dropout" not in typed:
        raise BadInput(
            f"dropout={plan.config.dropout}: a config file says what is searched in "
            f"hydra.sweeper.params.dropout; or type dropout={plan.config.dropout}"
        )


def _check_plan(plan: Plan, typed: frozenset[str]) -> None:
    study, zooms = plan.config.study, plan.config.sampler.name == "zoom"
    between("trials of all lists", plan.n_trials, 1, MOST_TRIALS)
    if plan.grid and "study.n_trials" in typed and study.n_trials != plan.n_trials:
        raise BadInput(
            f"study.n_trials={study.n_trials}: the lists make {plan.n_trials} trials, each once"
        )
    if plan.n_generations > CONFIRMATION:
        raise BadInput(
            f"study.generation={study.generation}: makes {plan.n_generations} generations of "
            f"{plan.n_trials} trials; {CONFIRMATION} is the most"
        )
    if plan.sampler == "zoom" and study.generation < 2:
        raise BadInput("study.generation=1: must be at least 2, as zoom compares its rates")
    if study.prune == "halving" and plan.config.train.epochs < 4:
        raise BadInput("study.prune=halving: needs 4 epochs, to prune after a quarter and a half")
    if study.prune == "halving" and plan.config.train.fuse != "auto":
        raise BadInput("train.fuse: must be auto, as study.prune=halving trains one population")
    if study.robustness and not (study.confirm and study.baseline):
        raise BadInput(
            "study.robustness=true: repeats the confirmation, "
            "so study.confirm and study.baseline must be true"
        )
    if not plan.grid and len(plan.axes) > 1 and "sampler" in typed and zooms:
        raise BadInput("sampler=zoom: searches only dropout; use tpe, gp, qmc or random")
    for key in study.each:
        known = OmegaConf.select(plan.cfg, key, default=plan) is not plan  # may be null
        if not (known and key.startswith(("model.", "train."))):
            raise BadInput(f"study.each=[{key}]: must be keys of model.* or train.*")
