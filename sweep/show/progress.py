"""The bar of a running command: its part done, the epoch, the best so far, the time left.

Jobs in processes of their own write how far they are into their folders; the bar reads it there.
"""

import json
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Never, Protocol

from tqdm import tqdm

from sweep.files import write_whole

FILE = "progress.json"
POLL = 1.0  # seconds
LINE = "{desc} {percentage:3.0f}%  {elapsed}, {remaining} left{postfix}"
FORMAT = LINE.replace("} ", "} |{bar}| ", 1)
Best = tuple[float, float]  # value and rate


class Reporter(Protocol):
    """What a job reports to: the command's bar, or a file that the bar follows."""

    done: float  # member-epochs

    def add_work(self, member_epochs: float) -> None:
        """Expect more work than was planned, or less if it is negative."""
        ...

    def advance(self, member_epochs: float) -> None: ...

    def describe(self, text: str, training: Iterable[Best]) -> None:
        """Describe the state of training, with the value and the rate of each trial in training."""
        ...


class JobReporter:
    """Reports to a file in the job's folder."""

    def __init__(self, folder: Path) -> None:
        self.file, self.done = folder / FILE, 0.0

    def add_work(self, member_epochs: float) -> None:
        """Do nothing: the command's bar counts what it planned, and corrects itself at the end."""

    def advance(self, member_epochs: float) -> None:
        self.done += member_epochs

    def describe(self, text: str, training: Iterable[Best]) -> None:
        best = _best(training)
        write_whole(self.file, json.dumps({"text": text, "done": self.done, "best": best}))


class Lines:
    """What a bar is written to where there is no terminal: each of its states is a line."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


class Bar:
    """The command's bar, which counts member-epochs; it appears with the first work."""

    def __init__(self) -> None:
        self.bar: tqdm[Never] | None = None
        self.begin()

    def begin(self) -> None:
        """Forget the work that was done, and the best so far."""
        self.best: Best | None = None  # of the finished trials
        self._restart()

    def _restart(self) -> None:
        self.close()
        self.done = self.total = self.said = 0.0

    def add_work(self, member_epochs: float, title: str = "") -> None:
        """Expect more work; if all was done that was expected, begin another bar."""
        if self.bar is not None and member_epochs > 0 and self.total <= self.done + 0.5:
            self._restart()
        self.total += member_epochs
        if self.bar is None and member_epochs > 0:
            seen = sys.stderr.isatty()
            self.bar = tqdm(
                total=self.total,
                desc=title,
                bar_format=FORMAT if seen else LINE,
                file=sys.stderr if seen else Lines(),
                mininterval=0.2 if seen else 60,
                dynamic_ncols=seen,
                leave=False,
            )
        if self.bar is not None:
            self.bar.total = self.total

    def advance(self, member_epochs: float) -> None:
        self.done += member_epochs
        if self.bar is not None:
            self.bar.update(min(self.done, self.total) - self.bar.n)

    def describe(self, text: str, training: Iterable[Best]) -> None:
        best = _best([*training, *([self.best] if self.best else [])])
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            if best:
                text = f"best so far {best[0]:.4f} at rate {best[1]:g}"
                self.bar.set_postfix_str(text, refresh=False)

    def note_result(self, value: float, rate: float) -> None:
        """Remember a finished trial."""
        self.best = min(self.best or (value, rate), (value, rate))

    def clear(self) -> None:
        """Make room for other lines."""
        if self.bar is not None:
            self._say_last()
            self.bar.clear()

    def close(self) -> None:
        if self.bar is not None:
            self._say_last()
            self.bar.close()
            self.bar = None

    def _say_last(self) -> None:
        """Write how far it came, where each state is a line and this one is not written."""
        if self.bar is not None and not sys.stderr.isatty() and self.said != self.done:
            self.bar.refresh()
            self.said = self.done

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
        reports: list[dict[str, Any]] = []
        for folder in folders:
            with suppress(OSError):  # it has not begun, or shares no folder with this process
                reports.append(json.loads((folder / FILE).read_text()))
        if reports:
            text = reports[-1]["text"]
            text = text if len(reports) == 1 else f"{len(reports)} jobs, {text}"
            self.describe(text, [tuple(one["best"]) for one in reports if one["best"]])
            self.advance(before + sum(one["done"] for one in reports) - self.done)


def _best(trials: Iterable[Best]) -> Best | None:
    return min((pair for pair in trials if math.isfinite(pair[0])), default=None)
