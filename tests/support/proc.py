"""Processes of this machine, as `/proc` shows them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """Process ids of what a process has started; none when it has ended."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_running(pid: int) -> bool:
    """Whether a process is there, and not a zombie that nobody has asked for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def runs(pid: int, program: str) -> bool:
    """Whether a process was started with this word."""
    try:
        return program in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
