"""The bar of a running command: its part done, the epoch, the best so far, the time left.

Jobs in processes of their own write how far they are into their folders, where the bar reads it.
"""

import json
import math
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Never

from tqdm import tqdm

FILE = "progress.json"
POLL = 1.0  # seconds
FORMAT = "{desc} |{bar}| {percentage:3.0f}%  {elapsed}, {remaining} left{postfix}"


class Progress:
    """A bar that counts member-epochs; there is one where it was told of the way, so in no job."""

    def __init__(self) -> None:
        self.bar: tqdm[Never] | None = None
        self.file: Path | None = None
        self.begin()

    def begin(self) -> None:
        """Forget what was before."""
        self.close()
        self.best: tuple[float, float] | None = None  # value and rate of the best finished trial
        self.done = self.total = 0.0

    def tell(self, folder: Path) -> None:
        """Begin a job outside the command's own process: from now on write to its folder."""
        self.file = folder / FILE
        self.begin()

    def extend(self, member_epochs: float, title: str = "") -> None:
        """Make the way longer; where its end was reached, begin another one."""
        if self.bar is not None and member_epochs > 0 and self.total <= self.done + 0.5:
            self.begin()
        self.total += member_epochs
        if self.bar is None and self.file is None and member_epochs > 0:
            self.bar = tqdm(
                total=self.total,
                desc=title,
                bar_format=FORMAT,
                mininterval=0.2 if sys.stderr.isatty() else 30,
                dynamic_ncols=True,
            )
        if self.bar is not None:
            self.bar.total = self.total

    def advance(self, member_epochs: float) -> None:
        self.done += member_epochs
        if self.bar is not None:
            self.bar.update(min(self.done, self.total) - self.bar.n)

    def show(self, text: str, training: Iterable[tuple[float, float]]) -> None:
        """Say where training is, and the best value and rate of those in training and finished."""
        known = [pair for pair in training if math.isfinite(pair[0])]
        best = min([*known, *([self.best] if self.best else [])], default=None)
        if self.file is not None:
            said = json.dumps({"text": text, "done": self.done, "best": best})
            temporary = self.file.with_suffix(".tmp")
            temporary.write_text(said)
            os.replace(temporary, self.file)
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            if best:
                text = f"best so far {best[0]:.4f} at rate {best[1]:g}"
                self.bar.set_postfix_str(text, refresh=False)

    def finish(self, value: float, rate: float) -> None:
        """Remember a finished trial."""
        self.best = min(self.best or (value, rate), (value, rate))

    def clear(self) -> None:
        """Make room for other lines."""
        if self.bar is not None:
            self.bar.clear()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    @contextmanager
    def following(self, folders: Sequence[Path]) -> Iterator[None]:
        """Follow jobs that run in other processes."""
        before, ended = self.done, threading.Event()

        def follow() -> None:
            while not ended.wait(POLL):
                self._read(before, folders)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
            self._read(before, folders)
        finally:
            ended.set()
            thread.join()

    def _read(self, before: float, folders: Iterable[Path]) -> None:
        said: list[dict[str, Any]] = []
        for folder in folders:
            with suppress(OSError):  # it has not begun, or shares no folder with this process
                said.append(json.loads((folder / FILE).read_text()))
        if said:
            text = said[-1]["text"] if len(said) == 1 else f"{len(said)} jobs, {said[-1]['text']}"
            self.show(text, [tuple(one["best"]) for one in said if one["best"]])
            self.advance(before + sum(one["done"] for one in said) - self.done)


progress = Progress()
