"""A client that listens to `$changes` as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

    from tests.support.service import Service


@dataclass(slots=True)
class Stream:
    """An open stream, read an event at a time."""

    response: ClientResponse
    last_id: str = ""
    comments: int = 0
    retry: str = ""

    async def event(self) -> tuple[str, Any] | None:
        """The next event that a browser would dispatch: its name and its data; None: the stream ended."""
        name, data = "message", ""
        async with asyncio.timeout(30):
            while line := await self.response.content.readline():
                field_name, _, value = line.decode().rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                match field_name:
                    case "id":
                        self.last_id = value
                    case "event":
                        name = value
                    case "data":
                        data += value
                    case "retry":
                        self.retry = value
                    case "":
                        self.comments += bool(line.strip())
                        if data:
                            return name, json.loads(data)
                    case _:
                        raise AssertionError(line)
        return None

    async def positioned(self) -> str:
        """The id that the stream begins with."""
        async with asyncio.timeout(30):
            while not self.last_id:
                line = (await self.response.content.readline()).decode()
                if line.startswith("id:"):
                    self.last_id = line[3:].strip()
        return self.last_id


@asynccontextmanager
async def listening(service: Service, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    """A stream of `$changes`."""
    url = service.client.make_url("/").join(URL(f"{service.root}/$changes?{query}", encoded=True))
    given = {**service.headers, "Accept": "text/event-stream"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.client.session.get(url, headers=given) as response:
        yield Stream(response)
