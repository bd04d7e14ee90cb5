"""A receiver of notifications: a server on loopback that notes what came and answers as a test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.support.fhir import Json


class Came(NamedTuple):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        made: Json = orjson.loads(self.body)
        return made

    @property
    def status(self) -> dict[str, Any]:
        """The Parameters of a notification, by name; `notification-event` is a list."""
        found: dict[str, Any] = {"notification-event": []}
        for one in self.json["entry"][0]["resource"]["parameter"]:
            value = next((value for name, value in one.items() if name.startswith("value")), None)
            if one["name"] == "notification-event":
                parts = {
                    part["name"]: next(v for name, v in part.items() if name.startswith("value"))
                    for part in one["part"]
                }
                found["notification-event"].append(parts)
            else:
                found[one["name"]] = value
        return found

    @property
    def kind(self) -> str:
        return str(self.status["type"])

    @property
    def events(self) -> list[tuple[int, str, str]]:
        """Number, `Type/id` and change of each event; empty where nothing is told of it."""
        return [
            (
                int(one["event-number"]),
                "/".join(one.get("focus", {}).get("reference", "").split("/")[-2:]),
                one.get("change", ""),
            )
            for one in self.status["notification-event"]
        ]


@dataclass(slots=True)
class Receiver:
    """Requests that came, and the answer to the next ones."""

    server: TestServer
    came: list[Came] = field(default_factory=list)
    answer: Callable[[Came], web.StreamResponse | None] = lambda _: web.Response()
    """None: it hangs until `let_go`."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook"))

    def of(self, kind: str) -> list[Came]:
        return [one for one in self.came if one.json.get("type") == "history" and one.kind == kind]

    @property
    def told(self) -> list[tuple[int, str, str]]:
        """All events of all notifications, in the order of their arrival."""
        return [event for one in self.of("event-notification") for event in one.events]

    async def until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until what came fulfils this."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(done)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A running receiver."""
    made: Receiver

    async def take(request: web.Request) -> web.StreamResponse:
        came = Came(
            request.path,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        answer = made.answer(came)
        if answer is None:
            await made.let_go.wait()
            answer = web.Response()
        async with made.arrived:
            made.came.append(came)
            made.arrived.notify_all()
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    server = TestServer(app)
    made = Receiver(server)
    await server.start_server()
    try:
        yield made
    finally:
        made.let_go.set()
        await server.close()
