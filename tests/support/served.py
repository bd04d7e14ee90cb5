"""`dod serve` as a process of its own, which a test may kill."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.preloaded import Forked, dod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLL_SECONDS = 0.01
SECONDS = 60.0
"""Longest wait for the start; no test depends on how long it takes."""


@dataclass(slots=True)
class Served:
    """A running service."""

    process: Forked
    log: Path
    url: str = ""
    admin_url: str = ""

    async def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def served(
    folder: Path, uri: str, database: str, *, changed: str = "", **settings: str
) -> AsyncIterator[Served]:
    """The service on a database, logging to a file; `changed` is Python that runs before it starts."""
    log = folder / "served.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    given = {"DOD_MONGODB_URI": uri, "DOD_MONGODB_DATABASE": database, "DOD_DRAIN_SECONDS": "0", **settings}
    with log.open("wb") as output:
        process = dod(
            *("serve", "--port", "0", "--admin-port", "0"),
            environment={**clean, **given},
            before=changed,
            stdout=output,
            stderr=output,
        )
    made = Served(process, log)
    try:
        async with asyncio.timeout(SECONDS):
            while not made.url:
                assert process.returncode is None, log.read_text()
                _read_addresses(made)
                await asyncio.sleep(POLL_SECONDS)
        yield made
    finally:
        if process.returncode is None:
            await made.kill()


def _read_addresses(made: Served) -> None:
    for line in made.log.read_text().splitlines():
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if said["admin_address"].startswith("http"):  # That of a worker is a socket.
                made.url, made.admin_url = said["address"].rstrip("/"), said["admin_address"].rstrip("/")
