"""Memory that tensors free: kept for the next ones instead of returned to the system."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed() -> None:
    """Have glibc return nothing: every page of it would fault anew in the next step.

    Elsewhere nothing happens. It holds for the whole process.
    """
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
