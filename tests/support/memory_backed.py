"""Folder in memory for a test run: a commit of MongoDB waits for its journal, and a disk is slow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

FREE_BYTES_MIN: Final = 4 * 1024**3
"""A mongod fills some 350 MB, its journal most of it; a worker has up to four, for a while."""


def memory_backed(folder: Path = Path("/dev/shm")) -> Path | None:  # noqa: S108 -- a folder of its own is made in it
    """The folder, where there is one that we may write to and room enough, of files and of memory."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return None  # Not Linux, or shut off.
    return folder if min(shutil.disk_usage(folder).free, available_bytes()) >= FREE_BYTES_MIN else None


def available_bytes() -> int:
    """Memory that nobody uses, in this machine."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
