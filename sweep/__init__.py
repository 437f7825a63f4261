"""Which dropout rate, how sure are we, is dropout worth it? `from sweep import find` asks it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.api import find

__all__ = ["find"]


def __getattr__(name: str) -> Any:
    if name != "find":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweep.api import find  # with torch, which `import sweep` does without

    return find
