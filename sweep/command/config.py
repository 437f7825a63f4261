"""The settings of a study, its training and its sampler: every default and every range check.

Imports no torch, so that a mistake is reported before anything slow starts. Hydra composes these
classes with `conf/`; `Config` is their root.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweep.command.rate import check_rate
from sweep.errors import BadInput, between, first_line, one_of, require
from sweep.work import SECOND_METRICS

MOST_TRIALS = 10_000
LOSSES = ("cross_entropy", "mse", "bce")
OPTIMIZERS = ("adamw", "sgd")
METRICS = ("val_loss", *(f"val_{name}" for name in SECOND_METRICS))
SAMPLERS = ("zoom", "tpe", "gp", "qmc", "random")
STORAGES = "must be sqlite:///<file> or postgresql+psycopg://<user>@<host>/<database>"


@dataclass
class TrainConfig:
    epochs: int = 10
    batch_size: int = 128
    eval_batch_size: int = 1000  # fixed, as a model may mix the samples of a batch
    optimizer: str = "adamw"  # adamw | sgd
    lr: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.0  # for sgd
    nesterov: bool = False  # for sgd with momentum
    clip_norm: float | None = None  # largest norm of a member's gradients; None: no clipping
    warmup: float = 0.0  # epochs over which lr rises from 0, step by step
    schedule: str = "constant"  # of lr over the epochs after warmup: constant | cosine
    # cross_entropy | mse | bce | the path of a function (outputs, targets) -> loss of each sample;
    # None: chosen by the targets
    loss: str | None = None
    class_axis: int | None = None  # of the outputs; None: the axis that the targets lack
    label_smoothing: float = 0.0  # for cross_entropy in training
    precision: str = "float32"  # float32 | bf16 (matrix products only)
    device: str = "auto"  # auto (cuda if there is one, else cpu) | cpu | cuda | cuda:<n>
    compile: bool = False  # whether steps of members trained as one program are compiled too
    fuse: Any = "auto"  # auto | the most members in one population; changes no result

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "eval_batch_size"):
            between(f"train.{key}", getattr(self, key), 1, 10**6)
        require(0 < self.lr < math.inf, "train.lr", self.lr, "must be above 0 and finite")
        decay = self.weight_decay
        require(0 <= decay < math.inf, "train.weight_decay", decay, "must be 0 or more and finite")
        one_of("train.schedule", self.schedule, ("constant", "cosine"))
        self._check_optimizer()
        if self.loss is not None and "." not in self.loss:
            one_of("train.loss", self.loss, (*LOSSES, "the path of a function"))
        if self.class_axis is not None:
            between("train.class_axis", self.class_axis, 1, 8)
        smoothing, allowed = self.label_smoothing, "must be at least 0 and below 1"
        require(0 <= smoothing < 1, "train.label_smoothing", smoothing, allowed)
        one_of("train.precision", self.precision, ("float32", "bf16"))
        known = re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", self.device)
        require(bool(known), "train.device", self.device, "must be auto, cpu, cuda or cuda:<n>")
        whole = isinstance(self.fuse, int) and not isinstance(self.fuse, bool) and self.fuse >= 1
        require(self.fuse == "auto" or whole, "train.fuse", self.fuse, "must be auto or at least 1")

    def _check_optimizer(self) -> None:
        one_of("train.optimizer", self.optimizer, OPTIMIZERS)
        sgd, momentum = self.optimizer == "sgd", self.momentum
        require(0 <= momentum < 1, "train.momentum", momentum, "must be at least 0 and below 1")
        allowed = f"is for sgd only, and the optimizer is {self.optimizer}"
        require(sgd or not momentum, "train.momentum", momentum, allowed)
        require(sgd or not self.nesterov, "train.nesterov", "true", allowed)
        allowed = "needs train.momentum above 0"
        require(momentum > 0 or not self.nesterov, "train.nesterov", "true", allowed)
        clip, allowed = self.clip_norm, "must be null, or above 0 and finite"
        require(clip is None or 0 < clip < math.inf, "train.clip_norm", clip, allowed)
        allowed = f"must be at least 0 and below train.epochs={self.epochs}"
        require(0 <= self.warmup < self.epochs, "train.warmup", self.warmup, allowed)


@dataclass
class SamplerConfig:
    name: str = "zoom"  # zoom: evenly spaced rates, then finer ones around the best; dropout only
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("sampler", self.name, SAMPLERS)
        between("sampler.seed", self.seed, 0, 2**32 - 1)


@dataclass
class StudyConfig:
    name: str | None = None  # None: <model>-<data>-<fingerprint>
    n_trials: int = 14  # in total, also after a resume
    generation: int = 9  # trials proposed together, which share their seeds
    seeds: int = 2  # with which each trial is trained
    storage: str | None = None  # an Optuna URL; None: study.db in the study's folder
    metric: str = "val_loss"  # to minimise, mean over seeds: val_loss or the second metric
    baseline: bool = True  # also train rate 0 if the search has no such trial
    confirm: bool = True  # train the best rate and rate 0 on fresh seeds, then read the test set
    robustness: bool = False  # repeat the confirmation at a third and at three times train.lr
    max_retries: int = 2  # of a job that is lost with its worker; then its trials fail
    prune: str = "none"  # none | halving: stop the worse half after 1/4 and 1/2 of the epochs
    each: list[str] = field(default_factory=list)  # further keys with one study for each value

    def __post_init__(self) -> None:
        between("study.n_trials", self.n_trials, 1, MOST_TRIALS)
        between("study.generation", self.generation, 1, 1000)
        between("study.seeds", self.seeds, 1, 1000)
        between("study.max_retries", self.max_retries, 0, 100)
        one_of("study.metric", self.metric, METRICS)
        one_of("study.prune", self.prune, ("none", "halving"))
        if self.name is not None:
            ok = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", self.name)
            allowed = (
                "must be up to 64 letters, digits, '.', '_' or '-', and not begin with '.' or '-'"
            )
            require(bool(ok), "study.name", self.name, allowed)
        if self.storage is not None:
            known = re.match(r"sqlite:///.|postgresql\+psycopg2?://.", self.storage)
            require(bool(known), "study.storage", self.storage.split(":")[0] + ":...", STORAGES)


# of every data set: a function inputs -> inputs of training batches, whether uint8 are images that
# are normalised, and how many classes there are, if not as many as the targets show
OF_ALL_DATA = {"augment": None, "normalize": True, "n_classes": None}


@dataclass
class Config:
    dropout: float = 0.0  # which the model reads as config.dropout; the study sets it
    model: dict[str, Any] = field(default_factory=dict)  # conf/model
    data: dict[str, Any] = field(default_factory=lambda: dict(OF_ALL_DATA))  # conf/data
    train: TrainConfig = field(default_factory=TrainConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    work: str = ""  # JSON: what one job trains; the study sets it

    def __post_init__(self) -> None:
        check_rate("dropout", self.dropout)


def typed_config(cfg: DictConfig) -> Config:
    """Return Hydra's config (without the hydra node) as checked dataclasses."""
    for key in OmegaConf.missing_keys(cfg):
        raise BadInput(f"{key}=???: must be given")
    whole = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), cfg))
    assert isinstance(whole, Config)
    return whole


def job_config(cfg: DictConfig) -> DictConfig:
    """Return the config without the hydra node; access to an unknown key raises an error."""
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    OmegaConf.set_struct(job, True)  # which masked_copy drops
    for key, value in _written(OmegaConf.to_container(job, resolve=False)):
        if "${" in value:
            try:
                OmegaConf.select(job, key)
            except OmegaConfBaseException as error:
                raise BadInput(f"{key}={value}: {first_line(error)}") from None
    OmegaConf.resolve(job)
    return job


def _written(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of all texts in a config, as they are written."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _written(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, str):
        yield prefix, node


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys in which two nested settings differ."""
    keys: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            keys += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(f"{prefix}{key}")
    return keys


@dataclass
class SweeperConfig:
    _target_: str = "hydra_plugins.study_sweeper.StudySweeper"
    params: dict[str, Any] = field(default_factory=dict)  # default searches, in Hydra's syntax
    several: bool = True  # whether the command line may make several studies


ConfigStore.instance().store(name="dropout_sweep_defaults", node=Config)
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=SweeperConfig)
