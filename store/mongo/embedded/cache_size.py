"""Memory that there is to share with the embedded mongod."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_GIBIBYTE: Final = 1024**3
_LIMITS: Final = ("memory.max", "memory/memory.limit_in_bytes")
"""Files with the limit of the control group, version 2 and 1, below `/sys/fs/cgroup`."""
LEAST: Final = 0.25
"""Least memory that WiredTiger takes."""


def memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process and its children may use: the machine's, or fewer when a control group says so."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMITS:
        with suppress(OSError, ValueError):  # Another version of control groups, or none; or "max".
            found = min(found, int((cgroup / name).read_text(encoding="ascii")))
    return found


def quarter(of: int) -> float:
    """A quarter of these bytes in GiB, as mongod takes it: two digits, not too few."""
    return max(LEAST, of // (_GIBIBYTE // 25) / 100)
