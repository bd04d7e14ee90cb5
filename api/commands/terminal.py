"""The user of a command, as the audit names them, and what they are told of files."""

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


def sentence_of(error: OSError) -> str:
    """Sentence on the failure of a file; empty: it is no file's."""
    if error.errno not in _OF_FILES:
        return ""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror}."
