"""The bar of a running command: its part done, the epoch, the best so far, the time left."""

import math
import sys
from collections.abc import Iterable
from typing import Never

from tqdm import tqdm


class Progress:
    """A bar that counts member-epochs; without `start` it is silent, as in a job's own process."""

    def __init__(self) -> None:
        self.bar: tqdm[Never] | None = None
        self.best: tuple[float, float] | None = None  # value and rate of the best finished trial
        self.total = 0.0

    def start(self, total: float, title: str = "generation 1") -> None:
        self.close()
        self.best, self.total = None, total
        self.bar = tqdm(
            total=total,
            desc=title,
            bar_format="{desc} |{bar}| {percentage:3.0f}%  {elapsed}, {remaining} left{postfix}",
            mininterval=0.2 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
        )

    @property
    def done(self) -> float:
        return 0.0 if self.bar is None else self.bar.n

    def extend(self, member_epochs: float) -> None:
        """Make the way longer."""
        if self.bar is not None:
            self.total += member_epochs
            self.bar.total = self.total

    def advance(self, member_epochs: float) -> None:
        if self.bar is not None:
            self.bar.update(min(member_epochs, self.total - self.bar.n))

    def show(self, text: str, training: Iterable[tuple[float, float]]) -> None:
        """Say where training is, and the best value and rate of those in training and finished."""
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            known = [pair for pair in training if math.isfinite(pair[0])]
            if self.best or known:
                best, rate = min([*known, *([self.best] if self.best else [])])
                self.bar.set_postfix_str(f"best so far {best:.4f} at rate {rate:g}", refresh=False)

    def finish(self, value: float, rate: float) -> None:
        """Remember a finished trial."""
        self.best = min(self.best or (value, rate), (value, rate))

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


progress = Progress()
