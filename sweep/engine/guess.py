"""What a guess that is the same for all samples comes to."""

import torch
from torch import Tensor

from sweep.command.config import TrainConfig
from sweep.engine.objective import loss_name, metric_of
from sweep.workload.samples import IGNORED


def constant_guess(targets: Tensor, config: TrainConfig) -> dict[str, float]:
    """Return the loss and the second metric of the best guess that is the same for all samples.

    Of the user's own loss there is none.
    """
    name, metric = loss_name(targets, config), metric_of(targets, config)
    if name == "cross_entropy":
        shares = targets[targets != IGNORED].bincount().double()
        shares = shares[shares > 0] / shares.sum()
        return {
            "val_loss": -float((shares * shares.log()).sum()),
            f"val_{metric}": 1 - float(shares.max()),
        }
    y = targets.double().flatten(1) if targets.dim() > 1 else targets.double()[:, None]
    if name == "mse" and metric == "rmse":
        variance = float(y.var(0, correction=0).mean())
        return {"val_loss": variance, "val_rmse": variance**0.5}
    if name == "bce" and ((y == 0) | (y == 1)).all():
        part = y.mean(0)
        entropy = -(torch.xlogy(part, part) + torch.xlogy(1 - part, 1 - part)).mean()
        return {
            "val_loss": float(entropy),
            "val_wrong_labels": float(part.minimum(1 - part).mean()),
        }
    return {}
