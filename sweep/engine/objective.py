"""The loss that training minimises and the second metric, both means over the targets that count.

A target counts unless it is the class number -100. B is the samples of a batch, ... the further
axes of the targets (tokens, pixels, several numbers or labels).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from sweep.command.config import TrainConfig
from sweep.workload.data import Data
from sweep.workload.imports import import_target
from sweep.workload.samples import IGNORED

Parts = tuple[Tensor, Tensor]  # of each sample (B,): the sum over counted elements, their number


def loss_of(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """Return the mean loss of a batch."""
    if loss_name(targets, config) == "cross_entropy":  # torch's own mean, with its smoothing
        by_class = classes_second(outputs, targets, config)
        return F.cross_entropy(by_class, targets, label_smoothing=config.label_smoothing)
    totals, counts = _loss_parts(outputs, targets, config)
    return totals.sum() / counts.sum()


def outcomes_of(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """Return of each sample (4, B): the loss and its count, the second metric and its count.

    The loss has no label smoothing, so that it can be compared between smoothings.
    """
    parts = *_loss_parts(outputs, targets, config), *_metric_parts(outputs, targets, config)
    return torch.stack([part.to(outputs.dtype) for part in parts])


def finish_outcomes(sums: Tensor, metric: str) -> dict[str, Tensor]:
    """Return the loss and the second metric (K,) by name, from sums over a whole split (4, K).

    There is no second metric if the loss is the user's and the outputs do not fit the targets.
    """
    done = {"loss": sums[0] / sums[1]}
    if sums[3].any():
        second = sums[2] / sums[3]
        done[metric] = second.sqrt() if metric == "rmse" else second
    return done


def metric_of(targets: Tensor, config: TrainConfig) -> str:
    """Return the second metric: error, token_error, pixel_error, rmse or wrong_labels."""
    if config.loss == "bce" or targets.dtype == torch.bool:
        return "wrong_labels"
    if targets.is_floating_point():
        return "rmse"
    return {1: "error", 2: "token_error"}.get(targets.dim(), "pixel_error")


def metric_fits(outputs: Tensor, targets: Tensor, metric: str) -> bool:
    if metric in ("rmse", "wrong_labels"):
        return outputs.numel() == targets.numel()
    axes = class_axes(outputs, targets)
    return bool(axes) and all(outputs.shape[axis] > 1 for axis in axes)


def with_loss(config: TrainConfig, data: Data) -> TrainConfig:
    """Return the config with the default loss for the targets, unless it names one."""
    return config if config.loss else replace(config, loss=default_loss(data.train.targets))


def n_outputs(data: Data, config: TrainConfig) -> int:
    """Return a model's config.n_classes: classes, or numbers or labels per sample."""
    targets = data.train.targets
    if config.loss == "bce" and data.given_classes is None:
        return max(1, targets[0].numel())
    return data.n_classes


def default_loss(targets: Tensor) -> str:
    """Return the default loss for the targets of a data set."""
    if targets.dtype == torch.bool:
        return "bce"
    if not targets.is_floating_point():
        return "cross_entropy"
    labels = set(torch.unique(targets).tolist())
    return "bce" if labels == {0.0, 1.0} else "mse"


def loss_name(targets: Tensor, config: TrainConfig) -> str:
    known = "mse" if targets.is_floating_point() else "cross_entropy"
    return config.loss or ("bce" if targets.dtype == torch.bool else known)


def _loss_parts(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Parts:
    name = loss_name(targets, config)
    if name == "cross_entropy":
        by_class = classes_second(outputs, targets, config)
        return _counted(F.cross_entropy(by_class, targets, reduction="none"), targets)
    if name == "mse" and not targets.is_floating_point():
        return _counted(_squared_error(outputs, targets, config), targets)
    if name == "mse":
        return _all((outputs.reshape(targets.shape) - targets) ** 2)
    if name == "bce":
        said, labels = outputs.reshape(targets.shape), targets.to(outputs.dtype)
        each = F.binary_cross_entropy_with_logits(said, labels, reduction="none")
        return _counted(each, targets)
    each = own_loss(name)(outputs, targets)
    return _counted(each, targets) if each.shape == targets.shape else _all(each)


def _metric_parts(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Parts:
    name = metric_of(targets, config)
    if not metric_fits(outputs, targets, name):  # which only a user's loss allows
        return _all(outputs * 0)[0], _all(targets * 0)[0]
    if name == "rmse":
        return _all((outputs.reshape(targets.shape) - targets) ** 2)
    if name == "wrong_labels":
        return _counted((outputs.reshape(targets.shape) > 0) != (targets > 0.5), targets)
    said = classes_second(outputs, targets, config).argmax(1)
    return _counted(said != targets, targets)


def _counted(values: Tensor, targets: Tensor) -> Parts:
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return _all(values)
    counted = targets != IGNORED
    whole = torch.where(counted, values, torch.zeros_like(values))
    return _by_sample(whole).sum(1), _by_sample(counted).sum(1)


def _all(values: Tensor) -> Parts:
    each = _by_sample(values)
    return each.sum(1), torch.ones_like(each, dtype=torch.int64).sum(1)


def _by_sample(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1)


def _squared_error(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """Return each element's squared distance to its one-hot target, a mean over classes."""
    by_class = classes_second(outputs, targets, config).movedim(1, -1)
    classes = torch.arange(by_class.shape[-1], device=targets.device)
    hot = (targets.unsqueeze(-1) == classes).to(by_class.dtype)
    return ((by_class - hot) ** 2).mean(-1)


def classes_second(outputs: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """Return outputs with the class axis moved to axis 1, where torch expects it.

    Where the second and the last axis both fit, it is the last of sequences, as language models
    have it, and the second of maps, as torch has it.
    """
    axes = class_axes(outputs, targets) or [1]
    return outputs.movedim(config.class_axis or axes[-1 if outputs.dim() == 3 else 0], 1)


def class_axes(outputs: Tensor, targets: Tensor) -> list[int]:
    """Return which of the second and the last axis of outputs the targets may lack."""
    shape = list(outputs.shape)
    axes = sorted({1, len(shape) - 1}) if len(shape) > 1 else []
    return [axis for axis in axes if shape[:axis] + shape[axis + 1 :] == list(targets.shape)]


@cache
def own_loss(path: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Import a user's loss: (outputs, targets) -> the loss of each element or each sample."""
    function = import_target("train.loss", path)
    assert callable(function)
    return function
