"""A data set's config that notes which of its keys a function reads."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


def noted(config: Mapping[str, Any], read: set[str]) -> SimpleNamespace:
    """Return a namespace of the keys; each that is read is added to `read`."""

    class Noted(SimpleNamespace):
        def __getattribute__(self, name: str) -> Any:
            read.update(config if name == "__dict__" else [name])  # vars() may read any of them
            return super().__getattribute__(name)

        def __reduce__(self) -> Any:  # a copy in another process reads unseen
            return SimpleNamespace, (), self.__dict__

    return Noted(**config)
