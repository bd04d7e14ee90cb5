"""The user of a command, as the audit names them."""

from __future__ import annotations

import getpass


def user() -> str:
    """User at the terminal, as far as the system knows."""
    try:
        return f"{getpass.getuser()} (dod)"
    except (KeyError, OSError):  # A user id without a name, as in containers.
        return "dod"
