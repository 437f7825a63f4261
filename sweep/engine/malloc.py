"""Keeps freed memory for the next tensors instead of returning it to the system."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed() -> None:
    """Stop glibc from returning freed memory: each page would fault again in the next step.

    Applies to the whole process; does nothing without glibc.
    """
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
