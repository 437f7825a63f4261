"""Finds what cannot be trained or searched, by running the model and not by reading it.

Only what is useless in plain PyTorch too is rejected, before anything is written.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.command.rate import NOTHING, is_rate
from sweep.command.space import Axis
from sweep.engine.augment import check_augment
from sweep.engine.noise import order_and_keys
from sweep.engine.objective import loss_of, with_loss
from sweep.engine.objective_check import (
    ambiguous_axis,
    check_loss,
    check_metric,
    check_outputs,
)
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.plain import outputs_of, plain_optimizer, run_once, take_step
from sweep.engine.rate_use import check_use
from sweep.engine.site import NOT_USERS, running, short_path
from sweep.engine.tried import TriedModel
from sweep.errors import BadInput, first_line
from sweep.workload.data import Data
from sweep.workload.inputs import map_inputs
from sweep.workload.model import described_model, model_variants, tried_rates

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SEVERAL_DEVICES = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def try_out(
    model: Mapping[str, Any],
    axes: Sequence[Axis],
    data: Data,
    config: TrainConfig,
    metric: str = "val_loss",
) -> list[str]:
    """Train the model on one batch at each end of what is searched; return warnings.

    Raises BadInput if the model fails, is on several devices, drops in evaluation or gives outputs
    that do not fit the targets, or if a searched rate changes nothing.
    """
    config = with_loss(config, data)
    check_loss(data, config)
    order, _ = order_and_keys(0, 0, len(data.train), config.batch_size)
    x, y = data.train[order[: config.batch_size]]
    if data.train.augment is not None:
        check_augment(data.train.augment, x)
    found: list[str] = []
    for variant in model_variants(model, axes):
        found = _try_rates(
            [TriedModel(variant, x, y, data, config, rate, metric) for rate in tried_rates(axes)]
        )
    for axis in axes:
        if is_rate(axis.key):
            check_use(axis.key, TriedModel(model, x, y, data, config, tried_rates(axes)[0], metric))
    return found


class _Fails(BadInput):
    """The model itself failed."""


def _try_rates(trials: Sequence[TriedModel]) -> list[str]:
    """Try a model at one rate after another until it does not fail; return its warnings."""
    first: _Fails | None = None
    for trial in trials:
        try:
            return _try_model(trial)
        except _Fails as error:
            first = first or error
    assert first
    raise first


def _try_model(trial: TriedModel) -> list[str]:
    name = described_model(trial.model)
    try:
        model = trial.built()
        _check_kind(name, model)
        warnings = _watch_norms(model)
        outputs, _ = run_once(model.train(), trial.x, trial.config)
        check_outputs(name, outputs, trial.y, trial.data, trial.config)
        check_metric(outputs, trial.y, trial.config, trial.metric)
        warnings += ambiguous_axis(outputs, trial.y, trial.config)
        _finish_step(model, outputs, trial)
        _try_last_batch(trial)
        with torch.no_grad():
            _, sites = run_once(model.eval(), trial.x, trial.config, noting=True)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise _Fails(f"{name}: {_short_error(error)}{_watched_only(trial)}") from error
    for call in sites.calls:
        if call.rate > NOTHING:
            raise BadInput(f"{name}: drops in evaluation too: {call}")
    if not sites.drawn and _mixes(trial):
        warnings.append("in evaluation the outputs for a sample depend on its batch")
    return warnings


def _finish_step(model: nn.Module, outputs: Tensor, trial: TriedModel) -> None:
    loss_of(outputs, trial.y, trial.config).backward()  # type: ignore[no-untyped-call]
    numbers = OptimizerNumbers(trial.config.lr, trial.config.weight_decay)
    take_step(model, plain_optimizer(model, numbers, trial.config), trial.config)


def _try_last_batch(trial: TriedModel) -> None:
    """Run a training step on the last batch of an epoch, which may be smaller."""
    n = len(trial.data.train) % trial.config.batch_size
    if not n:
        return
    x, y = map_inputs(lambda t: t[:n], trial.x), trial.y[:n]
    if trial.data.train.augment is not None:
        check_augment(trial.data.train.augment, x)
    model = trial.built().train()
    try:
        outputs, _ = run_once(model, x, trial.config)
        _finish_step(model, outputs, replace(trial, x=x, y=y))
    except Exception as error:
        size = trial.config.batch_size
        raise BadInput(
            f"train.batch_size={size}: the last batch has {n} of {len(trial.data.train)} samples, "
            f"on which the model fails: {_short_error(error)}"
        ) from error


def _check_kind(name: str, model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, SEVERAL_DEVICES):
            kind = type(module).__name__
            raise BadInput(f"{name}: {path or 'it'} is {kind}: a model must be on one device")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise BadInput(f"{name}: has no parameter to train")


def _watch_norms(model: nn.Module) -> list[str]:
    """Return a list that gets a warning if a forward pass drops before batch normalisation."""
    warnings: list[str] = []

    def enter(path: str, module: nn.Module) -> None:
        if not warnings and _running_drops():
            warnings.append(
                f"dropout is before {path} ({type(module).__name__}): batch normalisation then "
                "sees another variance in evaluation than in training (Li et al. 2018); "
                "put dropout after the last one"
            )

    for path, module in model.named_modules():
        if isinstance(module, BATCH_NORMS):
            module.register_forward_pre_hook(lambda m, args, path=path: enter(path, m))
    return warnings


def _running_drops() -> bool:
    return running.sites is not None and any(r > NOTHING for r in running.sites.rates.values())


def _mixes(trial: TriedModel) -> bool:
    """Return whether, in evaluation, half a batch gives other outputs than within the batch."""
    half = max(1, len(trial.y) // 2)
    try:
        with torch.no_grad():
            outputs, _ = run_once(trial.built().eval(), trial.x, trial.config)
            some = map_inputs(lambda t: t[:half], trial.x)
            part, _ = run_once(trial.built().eval(), some, trial.config)
    except Exception:
        return True
    scale = 1e-3 if trial.config.precision == "float32" else 0.1
    return not torch.allclose(part, outputs[:half], rtol=scale, atol=scale, equal_nan=True)


def _short_error(error: BaseException) -> str:
    """Return an error as one line, with the line of the user's or a library's code that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*NOT_USERS, OURS))]
    text = first_line(error)
    if "SimpleNamespace" in text:
        text += "; __init__ gets one config object, with dropout and the numbers of the YAML"
    return text + (f" ({short_path(own[-1].filename)}:{own[-1].lineno})" if own else "")


OURS = NOT_USERS[1].removesuffix("engine")


def _watched_only(trial: TriedModel) -> str:
    """Return a hint if a model that failed does not fail when its calls are not watched."""
    try:
        model = trial.built().train()
        _finish_step(
            model, outputs_of(model, map_inputs(Tensor.clone, trial.x), trial.config), trial
        )
    except (Exception, SystemExit):
        return ""
    return "; it fails only when its dropout calls are watched"
