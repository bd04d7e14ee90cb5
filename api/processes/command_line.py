"""Command line by which this program starts a further process of itself."""

from __future__ import annotations

import sys


def command_of(module: str) -> tuple[str, ...]:
    """Command line of a module of ours, without what it is told.

    The working directory is whoever's who started this process: no module is taken from there (`-P`).
    """
    return sys.executable, "-P", "-m", module
