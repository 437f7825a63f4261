"""Hydra's warnings: what nobody who types could change is left out, the rest is a line."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import hydra

NOTICES = (
    # the plugins' schemas are meant to check conf/hydra/launcher
    r"\s*'hydra/launcher/\w+' is validated against",
    # without it, Hydra 1.3 would behave as 1.1 does; Hydra 1.4 has no use for it any more
    "The version_base parameter is deprecated",
    # what a config names is imported here, and called only where it is a model, data or a loss
    r"hydra\.utils\.instantiate\(\) resolved _target_=.* with no\s+_execution_whitelist_",
)
HYDRA = str(Path(hydra.__file__).parent)


@contextmanager
def notices_silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        for notice in NOTICES:
            warnings.filterwarnings("ignore", message=notice)
        usual, said = warnings.showwarning, set[str]()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = " ".join(str(message).split())
            if not filename.startswith(HYDRA):
                usual(message, category, filename, lineno, file, line)
            elif text not in said:  # once of all compositions, and not where in Hydra's own code
                said.add(text)
                print(f"warning: {text}", file=sys.stderr)

        warnings.showwarning = show
        yield
