"""Memory of a process that serves for long: given back when it is let go, and seldom looked through."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

GC_OBJECTS: Final = 20_000
"""New objects between two collections; a search makes some hundreds, none of them in cycles."""
MAPPED_BYTES: Final = 262_144
"""Larger pieces of memory go back to the system when they are let go. Left to itself glibc keeps them after a
while, for each thread: some hundred megabytes after a few pages of large resources."""
_M_MMAP_THRESHOLD: Final = -3
"""The name of that parameter in `malloc.h`."""


def settle_memory() -> None:
    """Keep what is loaded by now: the collector need not look at it, nor come after every 700 objects."""
    with suppress(OSError, AttributeError):  # Of glibc; elsewhere memory is given back without being asked.
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)
