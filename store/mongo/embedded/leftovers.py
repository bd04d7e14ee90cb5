"""mongods that a killed owner left behind in a data directory: found, and ended."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.mongo.embedded.data_directory import Home

STOP_SECONDS: Final = 20.0
"""Time that mongod gets from SIGTERM to SIGKILL. A clean stop takes 1.0 s: one thread naps so long."""
POLL_SECONDS: Final = 0.02

# Replaces itself by mongod, after asking the kernel for a SIGTERM when the thread that forked it ends.
# A program of its own and not a `preexec_fn`, which may deadlock where threads run, as they may here.
# If the parent died before the request, nobody would send the signal: hence the look at getppid.
TRAMPOLINE: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""


async def end_leftover(home: Home) -> None:
    """End the mongod that a killed owner left behind, and nothing else."""
    for process in _mongods_of(home):
        await _end(home, process)


async def _end(home: Home, process: Path) -> None:
    try:
        descriptor = os.pidfd_open(int(process.name))
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Asked again with the descriptor at hand: it never becomes another process's, as the number may.
            if not _is_mongod_of(home, process):
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if await _ended(descriptor):
                return
        raise StartupError(
            f"A left-over mongod (pid {process.name}) still uses {home.db} and cannot be ended."
        )
    finally:
        os.close(descriptor)


def _mongods_of(home: Home) -> list[Path]:
    # The pid in `mongod.lock` is not enough: a mongod writes it late in its start, and removes it before
    # it lets go of the lock.
    return [process for process in Path("/proc").glob("[0-9]*") if _is_mongod_of(home, process)]


def _is_mongod_of(home: Home, process: Path) -> bool:
    """Whether it is a mongod that works in this data directory or has this very `mongod.lock` open.

    By file identity, not by path: the directory may have moved, and in a container a path is elsewhere.
    """
    with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        if not _runs_mongod((process / "cmdline").read_bytes().split(b"\0")):
            return False
        if os.path.samestat((process / "cwd").stat(), home.root.stat()):
            return True
        lock = (home.db / "mongod.lock").stat()
        return any(os.path.samestat(found, lock) for found in _open_files(process))
    return False


def _open_files(process: Path) -> Iterator[os.stat_result]:
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            yield descriptor.stat()


def _runs_mongod(arguments: list[bytes]) -> bool:
    """Whether this is the command line of a mongod, or of our trampoline about to become one."""
    named = b"mongod" in arguments[0].rpartition(b"/")[2] or TRAMPOLINE.encode() in arguments
    return named and b"--dbpath" in arguments


async def _ended(descriptor: int) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + STOP_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(0):
        if loop.time() > until:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
