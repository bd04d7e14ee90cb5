"""mongods of a test's own on loopback: alone, with fail points, or members of a set."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from store.mongo.embedded import find_mongod
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

Client = AsyncMongoClient[dict[str, Any]]
SET = "tests"
SMALL = (
    *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "50", "--nounixsocket", "--quiet"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
)
FAIL_POINTS = ("--setParameter", "enableTestCommands=1")
ROOT = "root"
QUICK_ELECTIONS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500, "heartbeatTimeoutSecs": 2}
"""As docs/operations.md recommends them."""


@dataclass(slots=True)
class Mongod:
    """A mongod that a test started."""

    port: int
    folder: Path
    options: Sequence[str]
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        """URI of this one alone, whatever it is a member of."""
        return f"mongodb://{self.address}/?directConnection=true"

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        log = (self.folder / "mongod.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *(str(find_mongod(None)), "--dbpath", str(self.folder / "db"), "--bind_ip", "127.0.0.1"),
            *("--port", str(self.port), *SMALL, *self.options),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        async with asyncio.timeout(60):
            while not _listens(self.port):
                assert self.process.returncode is None, (self.folder / "mongod.log").read_text()
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it as a power failure would."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def freeze(self) -> None:
        """Let it stand still."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def standalone(folder: Path, *options: str) -> AsyncIterator[Mongod]:
    """A mongod that belongs to no replica set."""
    made = Mongod(free_port(), folder, options)
    await made.start()
    try:
        yield made
    finally:
        await made.kill()


@asynccontextmanager
async def replica_set(
    folder: Path, *options: str, members: int = 1, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[list[Mongod]]:
    """Members of one set, one of them a primary that takes writes."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(standalone(folder / str(number), *options, "--replSet", SET))
            for number in range(members)
        ]
        config = {
            "_id": SET,
            "members": [{"_id": number, "host": one.address} for number, one in enumerate(made)],
            "settings": dict(settings or {}),
        }
        async with Client(made[0].uri) as client:
            await client.admin.command({"replSetInitiate": config})
        await primary_of(made)
        yield made


def uri_of(members: Sequence[Mongod], **options: str) -> str:
    """Connection string of the whole set."""
    given = "".join(f"&{name}={value}" for name, value in options.items())
    return f"mongodb://{','.join(one.address for one in members)}/?replicaSet={SET}{given}"


async def primary_of(members: Sequence[Mongod]) -> Mongod:
    """The member that takes writes, as soon as there is one."""
    async with asyncio.timeout(60):
        while True:
            for one in members:
                if one.process is None or one.process.returncode is not None:
                    continue
                try:
                    async with Client(one.uri, serverSelectionTimeoutMS=500, socketTimeoutMS=1000) as client:
                        if (await client.admin.command("hello"))["isWritablePrimary"]:
                            return one
                except PyMongoError:
                    continue
            await asyncio.sleep(0.05)


@asynccontextmanager
async def guarded_set(folder: Path) -> AsyncIterator[Mongod]:
    """A set of one that asks for a password, with a user `root` who may do everything."""
    async with replica_set(folder, "--auth", "--keyFile", _key(folder)) as [member]:
        async with Client(member.uri) as client:
            await client.admin.command({"createUser": ROOT, "pwd": ROOT, "roles": ["root"]})
        yield member


def _key(folder: Path) -> str:
    """File with what members of a set prove to one another."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "key"
    secret.write_text("made up for tests " * 3)
    secret.chmod(0o400)
    return str(secret)


def as_user(member: Mongod, user: str = ROOT, password: str = ROOT) -> str:
    """Connection string of a set of one, for one of its users."""
    return f"mongodb://{user}:{password}@{member.address}/?replicaSet={SET}"
