"""The user of a command, as the audit names them, and what they are told of files, memory and threads."""

from __future__ import annotations

import errno
import getpass
import os
from typing import Final


def user() -> str:
    """User at the terminal, as far as the system knows."""
    try:
        return f"{getpass.getuser()} (dod)"
    except (KeyError, OSError):  # A user id without a name, as in containers.
        return "dod"


_OF_FILES: Final = frozenset(
    {
        *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ENOENT),
        *(errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS),
    }
)
"""Failures of files that a command was told to read or write: the reason says all."""

NO_MEMORY: Final = "Memory ran out: give the process more, by `ulimit -v` or the limit of its container."
NO_THREAD: Final = (
    "No further thread can be started: give the process more memory (`ulimit -v`, the limit of its"
    " container), or its user more processes (`ulimit -u`)."
)
_THREADS_FAULT: Final = "can't start new thread"


def sentence_of(error: OSError | MemoryError | RuntimeError) -> str:
    """Sentence on the failure of a file, or for want of memory or threads; empty: it is neither."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if not isinstance(error, OSError):
        return NO_THREAD if str(error) == _THREADS_FAULT else ""
    if error.errno == errno.ENOMEM:
        return NO_MEMORY
    if error.errno not in _OF_FILES:
        return ""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror}."
