"""A model and the batch that it is tried on, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.objective import n_outputs
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.plain import build_model
from sweep.engine.setting import Setting
from sweep.workload.data import Data
from sweep.workload.inputs import Inputs
from sweep.workload.model import model_builder


@dataclass(frozen=True)
class TriedModel:
    """A model, and the batch that it is tried on."""

    model: Mapping[str, Any]
    x: Inputs
    y: Tensor
    data: Data
    config: TrainConfig
    rate: float
    metric: str = "val_loss"  # that is searched

    def built(self) -> nn.Module:
        shape, n = self.data.input_shape, n_outputs(self.data, self.config)
        make = model_builder(self.model, self.rate, shape, n, self.data.example)
        return build_model(
            Setting(make, OptimizerNumbers(0.0, 0.0)), 0, torch.device("cpu"), torch.float32
        )
