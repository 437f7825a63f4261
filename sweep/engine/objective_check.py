"""Whether a loss fits the targets of a data set and the outputs of a model."""

import torch
from torch import Tensor

from sweep.command.config import LOSSES, TrainConfig
from sweep.engine.objective import class_axes, metric_fits, metric_of, own_loss
from sweep.errors import BadInput, first_line
from sweep.workload.data import Data
from sweep.workload.samples import IGNORED


def check_loss(data: Data, config: TrainConfig) -> None:
    """Raise BadInput if the loss does not fit the data set's targets."""
    key, targets = f"train.loss={config.loss}", data.train.targets
    classes = not targets.is_floating_point() and targets.dtype != torch.bool
    if config.label_smoothing and config.loss != "cross_entropy":
        given = f"train.label_smoothing={config.label_smoothing}"
        raise BadInput(f"{given}: is for cross_entropy only, and the loss is {config.loss}")
    if config.loss == "cross_entropy" and not classes:
        raise BadInput(f"{key}: needs class numbers, but the targets are {targets.dtype}")
    if config.class_axis is not None and not classes:
        raise BadInput(f"train.class_axis={config.class_axis}: is for class numbers only")
    if config.loss == "mse" and targets.dtype == torch.bool:
        raise BadInput(f"{key}: needs numbers, but the targets are {targets.dtype}; use bce")
    for name, y in (("train", targets), ("val", data.val.targets)):
        known = y[y != IGNORED] if classes else y
        if config.loss == "bce" and not ((known >= 0) & (known <= 1)).all():
            raise BadInput(f"{key}: needs labels from 0 to 1, but {name!r} has others")


def check_outputs(
    name: str, outputs: Tensor, targets: Tensor, data: Data, config: TrainConfig
) -> None:
    """Raise BadInput if the loss cannot compare the outputs with the targets."""
    seen = f"{name}: gives {tuple(outputs.shape[1:])} for a sample"
    if config.loss not in LOSSES:
        _check_own_loss(outputs, targets, config)
    elif metric_of(targets, config) in ("rmse", "wrong_labels"):
        if _of_a_sample(outputs) != _of_a_sample(targets):
            raise BadInput(
                f"{seen}, not {tuple(targets.shape[1:])} like the targets of {config.loss}"
            )
    else:
        axes = class_axes(outputs, targets)
        if config.class_axis is not None and config.class_axis not in axes:
            allowed = " or ".join(map(str, axes)) or "left out"
            raise BadInput(f"train.class_axis={config.class_axis}: must be {allowed} here")
        axes = axes if config.class_axis is None else [config.class_axis]
        if not axes or outputs.shape[axes[-1]] < data.n_classes:
            shape = tuple(targets.shape[1:])
            each = f" for each of its targets {shape}" if shape else ""
            if shape and not axes:
                each += "; labels 0 and 1 must be floats or bools, and one class a sample (N,)"
            raise BadInput(f"{seen}, not the {data.n_classes} classes{each}")


def _of_a_sample(tensor: Tensor) -> torch.Size:
    """Return the shape of a sample; one number alone is like one in an axis."""
    return tensor.shape[1:-1] if tensor.shape[1:][-1:] == (1,) else tensor.shape[1:]


def _check_own_loss(outputs: Tensor, targets: Tensor, config: TrainConfig) -> None:
    key = f"train.loss={config.loss}"
    try:
        loss = own_loss(str(config.loss))(outputs, targets)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{key}: {first_line(error)}") from error
    shapes = (len(targets),), tuple(targets.shape)
    if not isinstance(loss, Tensor) or tuple(loss.shape) not in shapes:
        seen = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        allowed = " or ".join(map(str, dict.fromkeys(shapes)))
        raise BadInput(f"{key}: must return a loss for each sample, {allowed}, not {seen}")


def check_metric(outputs: Tensor, targets: Tensor, config: TrainConfig, metric: str) -> None:
    """Raise BadInput if the searched metric is one that these outputs do not have."""
    name = metric_of(targets, config)
    if metric == f"val_{name}" and not metric_fits(outputs, targets, name):
        seen = f"outputs {tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}"
        raise BadInput(f"study.metric={metric}: must be val_loss here, as {seen}")


def ambiguous_axis(outputs: Tensor, targets: Tensor, config: TrainConfig) -> list[str]:
    """Return a warning if two axes of the outputs may hold the classes."""
    classes = metric_of(targets, config) in ("error", "token_error", "pixel_error")
    axes = class_axes(outputs, targets)
    if not classes or config.class_axis is not None or len(axes) < 2:
        return []
    taken = axes[-1 if outputs.dim() == 3 else 0]
    return [
        f"axes {axes[0]} and {axes[1]} of the outputs {tuple(outputs.shape)} may both hold the "
        f"classes: axis {taken} is taken; train.class_axis says otherwise"
    ]
