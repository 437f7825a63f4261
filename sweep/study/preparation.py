"""A study before it is opened: all that can be checked without writing anything."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweep.command.config import Config, TrainConfig
from sweep.command.plan import Plan
from sweep.engine.device import multiplies_bf16, pick_device
from sweep.engine.guess import constant_guess
from sweep.engine.inspection import try_out
from sweep.engine.objective import default_loss, metric_of, with_loss
from sweep.errors import BadInput, DataUnavailable, require
from sweep.jobs.launcher import Launcher
from sweep.study.fingerprint import sha256_of, study_fingerprint
from sweep.study.sources import study_sources
from sweep.study.storage import sqlite_url
from sweep.workload.data import Data, load_data, load_test_split
from sweep.workload.local import is_local
from sweep.workload.model import check_numbers


@dataclass(frozen=True)
class Prepared:
    """A study whose command line, model and data were found sound."""

    plan: Plan  # on the data that are there
    name: str
    folder: Path
    device: str  # cpu | cuda, or what the command says if jobs run elsewhere
    fingerprint: dict[str, Any]
    sources: dict[str, str]
    warnings: tuple[str, ...]
    second_metric: str
    guess: dict[str, float]  # metric -> that of the best constant guess


def prepare_study(plan: Plan, launcher: Launcher) -> Prepared:
    """Check what needs torch and the data; raise BadInput or Unreachable, and write nothing."""
    name = plan.config.train.device
    device = pick_device(name).type if launcher.is_local else name
    check_numbers(plan.config.model, plan.axes)
    plan, samples, warnings = _with_data(plan)
    plan = _with_loss(plan, samples)
    config = plan.config
    targets = _named_code(config)
    _check_importable(targets, launcher)
    size, most = config.train.batch_size, len(samples.train)
    require(size <= most, "train.batch_size", size, f"must be at most the {most} samples")
    second = metric_of(samples.train.targets, config.train)
    metric, allowed = config.study.metric, ("val_loss", f"val_{second}")
    require(metric in allowed, "study.metric", metric, f"must be {' or '.join(allowed)} here")
    warnings += samples.warnings
    warnings += _training_warnings(config.train, samples, device if launcher.is_local else None)
    warnings += _unread_keys(config, samples)
    warnings += try_out(config.model, plan.axes, samples, config.train, metric)
    whole = study_fingerprint(plan, samples.sha256)
    study_name = config.study.name or _made_name(plan, sha256_of(whole))
    folder = Path(plan.cfg.hydra.sweep.dir).expanduser().resolve() / study_name
    require("${" not in str(folder), "hydra.sweep.dir", folder, "must not hold ${")
    above = next(place for place in folder.parents if place.exists())
    require(above.is_dir(), "hydra.sweep.dir", folder.parent, f"{above} is not a folder")
    sqlite_url(folder)  # which not every name can become
    guess = constant_guess(samples.val.targets, config.train)
    code = study_sources(targets)
    return Prepared(plan, study_name, folder, device, whole, code, tuple(warnings), second, guess)


def _unread_keys(config: Config, samples: Data) -> list[str]:
    """Return a warning for each key of data that nothing reads; raise if the test set is bad."""
    read = set[str]()
    if config.study.confirm:
        load_test_split(config.data, samples, read)
    what = "is not read" if config.study.confirm else "is not read for train and val"
    return [f"data.{key}={config.data[key]} {what}" for key in sorted(samples.unread - read)]


def _training_warnings(train: TrainConfig, samples: Data, device: str | None) -> list[str]:
    """Return what may not be meant; the device is None if it is not of this machine."""
    warnings = []
    if train.loss == "mse" and samples.train.targets.dtype == torch.int64:
        warnings.append("mse of class numbers is taken to one-hot targets; for numbers use floats")
    if train.precision == "bf16" and device and not multiplies_bf16(device):
        warnings.append(f"train.precision=bf16: this {device} has no such products; it is slower")
    return warnings


def _made_name(plan: Plan, digest: str) -> str:
    """Return a study's name, of the letters that a typed one may have; labels may have others."""
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{plan.labels['model']}-{plan.labels['data']}")
    return f"{label[:55].lstrip('.-')}-{digest[:8]}"


def _named_code(config: Config) -> list[str]:
    """Return the paths of the classes and functions that a study runs."""
    data, loss = config.data, str(config.train.loss)
    paths = [config.model.get("_target_"), data.get("_target_"), data.get("augment")]
    return [str(path) for path in (*paths, loss if "." in loss else None) if path is not None]


def _check_importable(targets: Iterable[str], launcher: Launcher) -> None:
    """Raise BadInput if jobs in processes of their own would need what only this process has."""
    if not launcher.in_process and (local := [path for path in targets if is_local(path)]):
        what = local[0].rpartition(".")[2].rpartition("_")[0]
        raise BadInput(
            f"hydra/launcher={launcher.name}: its processes cannot import {what}, which is in a "
            "notebook or a script; put it into a file of its own and import it"
        )


def _with_loss(plan: Plan, samples: Data) -> Plan:
    """Return the plan with the loss that follows from the targets, if it names none."""
    train = with_loss(plan.config.train, samples)
    y = samples.train.targets
    if plan.config.train.loss is None and train.loss != "cross_entropy":
        why = f"as the targets of data={plan.labels['data']} are {_described(y)}"
        print(f"train.loss={train.loss}, {why}", file=sys.stderr)
    return replace(plan, config=replace(plan.config, train=train))


def _described(targets: Tensor) -> str:
    kind = "0 and 1" if default_loss(targets) == "bce" else "floats"
    return f"{kind} of shape {tuple(targets.shape[1:])}" if targets.dim() > 1 else kind


def _with_data(plan: Plan) -> tuple[Plan, Data, list[str]]:
    """Read the data, or if they cannot be had those of data.fallback, with a warning."""
    try:
        return plan, load_data(plan.config.data), []
    except DataUnavailable as error:
        fallback = plan.config.data.get("fallback")
        if fallback is None:
            raise
        warning = f"{error}: data={fallback} is used instead"
    plan = plan.with_data(fallback)
    samples = load_data(plan.config.data)
    print(f"warning: {warning}", file=sys.stderr)
    return plan, samples, [warning]
