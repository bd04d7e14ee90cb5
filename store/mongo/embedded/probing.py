"""Signs of life of the embedded mongod: whether it listens, answers, and takes writes."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

if TYPE_CHECKING:
    from pathlib import Path

POLL_SECONDS: Final = 0.02


async def until_primary(path: Path, exited: asyncio.Future[int]) -> bool:
    """Wait until writes are taken; False if mongod ended before."""
    # A bare connect first: pymongo looks at a server that was down again only after 0.5 s.
    while not _listens(path):
        if exited.done():
            return False
        await asyncio.sleep(POLL_SECONDS)
    async with _client(path) as client:
        while not exited.done():
            # Every refusal here is one of a server still waking up, or of one that is about to be `exited`.
            with suppress(PyMongoError):
                if await _is_primary(client):
                    return True
            await asyncio.sleep(POLL_SECONDS)
    return False


async def _is_primary(client: AsyncMongoClient[dict[str, object]]) -> bool:
    """Whether writes are taken; founds the set if there is none (mongod refuses to do so twice)."""
    hello = await client.admin.command("hello")
    if "setName" not in hello:
        members = [{"_id": 0, "host": "./mongod.sock"}]
        await client.admin.command({"replSetInitiate": {"_id": "dod", "members": members}})
    return hello["isWritablePrimary"] is True


async def answers(path: Path) -> bool:
    """Whether a mongod that takes writes answers there."""
    if not _listens(path):
        return False
    async with _client(path) as client:
        try:
            return (await client.admin.command("hello"))["isWritablePrimary"] is True
        except PyMongoError:
            return False


def _client(path: Path) -> AsyncMongoClient[dict[str, object]]:
    # Bounded: a mongod that accepts and never speaks must not hold a command beyond its wait.
    return AsyncMongoClient(uri_of(path), serverSelectionTimeoutMS=1000, socketTimeoutMS=5000)


def _listens(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(os.fsencode(path)) == 0


def uri_of(path: Path) -> str:
    """Connection string of the mongod behind a unix socket."""
    return f"mongodb://{quote_plus(os.fsencode(path))}/?directConnection=true"
