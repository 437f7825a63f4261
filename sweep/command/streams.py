"""Output that may go away: a closed pipe or terminal, or a full disk, costs lines and no study."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

GONE = (OSError, ValueError)  # what a stream raises that takes no more, or is closed


class Stream:
    """A stream that forgets what it cannot write."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        with suppress(*GONE):
            self._inner.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(*GONE):
            self._inner.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let nothing inside fail because nobody takes its output any more, or never did."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # in place of a stream that was closed at the start
        sys.stdout, sys.stderr = (cast(TextIO, Stream(one or nowhere)) for one in before)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for stream in filter(None, before):
                _let_go(stream)


def _let_go(stream: TextIO) -> None:
    """Send what a broken stream still holds nowhere: Python's own end would fail over it."""
    try:
        stream.flush()
    except GONE:
        with suppress(*GONE), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
