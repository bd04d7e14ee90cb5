"""File of a journal: made for its owner alone, and open to one process at a time."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from store.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path, *, command: str) -> int:
    """Descriptor of the file, locked until it is closed; each write goes to its end.

    `command` is named to whoever comes second. Raises StartupError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"The journal {path} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        text = f"Another `{command}` uses the journal {path}; `--journal` names another one."
        raise StartupError(text) from None
    return file
