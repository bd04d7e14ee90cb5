"""The mongod child: one per data directory, on a unix socket only.

`dod serve` owns the data directory while it runs; a command borrows the owner's mongod, or owns the
directory for its own short life.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.errors import StartupError
from store.mongo.embedded.binary import find_mongod
from store.mongo.embedded.child import Child
from store.mongo.embedded.data_directory import (
    Home,
    Role,
    Runtime,
    home_of,
    lock,
    prepare,
    read_runtime,
    sentences,
    socket_path,
    write_runtime,
)
from store.mongo.embedded.leftovers import end_leftover
from store.mongo.embedded.log import Log
from store.mongo.embedded.obituary import obituary
from store.mongo.embedded.probing import POLL_SECONDS, answers, uri_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CACHE_GIGABYTES: Final = 0.5
"""WiredTiger's cache. Its own default, half of all memory, is too much beside a service."""

BORROWERS_SECONDS: Final = 5.0
"""Time that a stopping `dod serve` waits for borrowers. Longer eats into the supervisor's patience."""

OPLOG_MEGABYTES: Final = 256
"""The default is 5 % of the disk. Nobody replicates from here, and deleted reports linger there."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A mongod that answers as a writable primary."""

    uri: str
    pid: int
    """The process that was started first: one that is killed has a successor."""
    exited: asyncio.Future[int] = field(compare=False)
    """mongod's exit code (negative: a signal), once it ends unasked and is not started again.

    Cancelled on leaving the context; never set for a borrower.
    """
    log: Log | None = field(default=None, compare=False)
    """Log that its owner keeps; None: somebody else owns it."""

    def obituary(self) -> str:
        """Sentence on why it ended by itself, once it has."""
        if self.log is None or not self.exited.done():
            return "The embedded MongoDB ended by itself."
        return obituary(self.exited.result(), self.log.lines, self.log.path, while_="by itself")


@dataclass(frozen=True, slots=True)
class Claim:
    """A held lock: on the directory, or on the use of a borrowed mongod."""

    lock: int
    borrowed: Embedded | None


@asynccontextmanager
async def embedded(
    data_dir: Path,
    *,
    role: Role,
    binary: Path | None = None,
    wait_seconds: float = 30.0,
    cache_gigabytes: float = CACHE_GIGABYTES,
) -> AsyncIterator[Embedded]:
    """Own the data directory or, for a command, borrow its owner's mongod; StartupError says why not."""
    if platform.system() != "Linux":
        raise StartupError(
            "The embedded MongoDB runs on Linux only; set DOD_MONGODB_URI to use a MongoDB of your own."
        )
    home = home_of(data_dir)
    with sentences(home):
        prepare(home)
        claim = await _claim(home, role, wait_seconds)
    try:
        if claim.borrowed is not None:
            yield claim.borrowed
        else:
            command = [str(find_mongod(binary)), *_flags(home, cache_gigabytes)]
            async with _mongod(home, role, command, wait_seconds) as mongod:
                yield mongod
    finally:
        if claim.borrowed is not None:
            claim.borrowed.exited.cancel()
        os.close(claim.lock)


# Owning and borrowing


async def _claim(home: Home, role: Role, wait_seconds: float) -> Claim:
    """The directory if nobody owns it, else for a command its owner's mongod; waits for either."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_seconds
    seen: Runtime | None = None
    while True:
        if (locked := lock(home.owner_lock, fcntl.LOCK_EX)) is not None:
            return Claim(locked, None)
        owner = read_runtime(home)
        if owner is not None and role == "command" and (claim := await _borrow(home, owner)) is not None:
            return claim
        # Seen twice, so that it is not what a killed serve left and the new owner is about to overwrite.
        if role == "serve" and owner is not None and owner.role == "serve" and owner == seen:
            raise StartupError(
                f"The data directory {home.root} is in use by another `dod serve` (pid {owner.pid}): stop it,"
                " or name another directory with `--data-dir`."
            )
        if loop.time() > until:
            who = f"a `dod` {owner.role} (pid {owner.pid})" if owner else "a `dod` that is stopping"
            raise StartupError(
                f"The data directory {home.root} is still in use by {who} after {wait_seconds:g} s."
            )
        seen = owner
        await asyncio.sleep(POLL_SECONDS)


async def _borrow(home: Home, owner: Runtime) -> Claim | None:
    """A share in the owner's mongod, or None if it does not answer or is no longer on offer."""
    if owner.mongod is None or (locked := lock(home.users_lock, fcntl.LOCK_SH)) is None:
        return None
    with ExitStack() as stack:
        stack.callback(os.close, locked)
        # Read again under the lock: an owner withdraws its runtime file before it looks for borrowers, so
        # either it sees our lock or we see its withdrawal.
        if await answers(Path(owner.socket)) and read_runtime(home) == owner:
            stack.pop_all()
            exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            return Claim(locked, Embedded(uri_of(Path(owner.socket)), owner.mongod, exited))
    return None


async def _borrowers_gone(home: Home, role: Role) -> None:
    """Wait for the last borrower; `dod serve` does not wait for ever."""
    loop = asyncio.get_running_loop()
    until = loop.time() + BORROWERS_SECONDS
    while (locked := lock(home.users_lock, fcntl.LOCK_EX)) is None:
        if role == "serve" and loop.time() > until:
            return
        await asyncio.sleep(POLL_SECONDS)
    os.close(locked)


# The child


@asynccontextmanager
async def _mongod(home: Home, role: Role, command: list[str], wait_seconds: float) -> AsyncIterator[Embedded]:
    """Run mongod for the owner of the directory: end a left-over one, start, offer, withdraw, stop."""
    with ExitStack() as stack:
        with sentences(home):
            path = stack.enter_context(socket_path(home))
            runtime = Runtime(os.getpid(), role, str(path), None)
            stack.callback(home.runtime.unlink, missing_ok=True)
            write_runtime(home, runtime)
            await end_leftover(home)
        log = Log(home.log)
        child = Child(
            command,
            path,
            log,
            wait_seconds=wait_seconds,
            told=lambda pid: write_runtime(home, replace(runtime, mongod=pid)),
        )
        try:
            with sentences(home):
                await child.start()
            yield Embedded(uri_of(path), child.pid, child.exited, log)
        finally:
            home.runtime.unlink(missing_ok=True)
            try:
                if not child.exited.done():
                    await _borrowers_gone(home, role)
            finally:
                await child.stop()


def _flags(home: Home, cache_gigabytes: float) -> list[str]:
    parameters = {
        "diagnosticDataCollectionEnabled": "false",
        # Nobody could take over, so there is nothing to wait for.
        "shutdownTimeoutMillisForSignaledShutdown": "0",
    }
    flags = {
        "--dbpath": str(home.db),
        # Relative to the working directory: the set's stored configuration outlives a move of the data
        # directory, and colons, commas and length of the path cannot trouble mongod.
        "--bind_ip": "./mongod.sock",
        "--replSet": "dod",
        "--oplogSize": str(OPLOG_MEGABYTES),
        "--wiredTigerCacheSizeGB": str(cache_gigabytes),
        # Slow operations are logged with their values, and those are patients'.
        "--slowOpSampleRate": "0",
        # CVE-2025-14847: a compressed message with a wrong length is answered with uninitialised memory.
        "--networkMessageCompressors": "disabled",
    }
    return [
        "--noscripting",
        "--quiet",
        # Else also a /tmp/mongodb-27017.sock, which a second data directory would take over.
        "--nounixsocket",
        *(part for flag in flags.items() for part in flag),
        *(part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")),
    ]
