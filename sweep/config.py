"""The settings of study, training and data: every default and every range check. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any


class BadInput(ValueError):
    """A user's mistake, told in one line: the key, the value and what is allowed."""


def require(ok: bool, key: str, value: Any, allowed: str) -> None:
    if not ok:
        raise BadInput(f"{key}={value}: {allowed}")


def check_rate(key: str, rate: float) -> None:
    hint = "; with a decimal comma it is a list: use a point" if rate >= 1 else ""
    require(0 <= rate < 1, key, rate, f"a dropout rate must be at least 0 and below 1{hint}")


@dataclass
class TrainConfig:
    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3  # AdamW
    weight_decay: float = 0.01
    schedule: str = "constant"  # of lr over the epochs: constant | cosine
    loss: str = "cross_entropy"  # cross_entropy | mse (to the one-hot target)
    precision: str = "float32"  # float32 | bf16 (matrix products only)
    device: str = "auto"  # auto (cuda where there is one, else cpu) | cpu | cuda | cuda:1 ...
    fuse: Any = "auto"  # members trained as one program at most; changes no result

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "must be at least 1")
        require(self.batch_size >= 1, "train.batch_size", self.batch_size, "must be at least 1")
        require(0 < self.lr < float("inf"), "train.lr", self.lr, "must be above 0")
