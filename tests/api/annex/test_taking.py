"""Bodies that the annex takes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api.annex.taking import taken
from ingest.http.body import BODY

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler


async def test_a_body_is_let_go_of_whatever_is_answered() -> None:
    seen: list[tuple[int, bool]] = []

    @web.middleware
    async def behind(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            seen.append((sizes.pop(), BODY in request))

    async def refuse(request: web.Request) -> web.Response:
        sizes.append(len(request[BODY]))
        raise web.HTTPBadRequest

    async def accept(request: web.Request) -> web.Response:
        sizes.append(len(request[BODY]))
        return web.Response()

    sizes: list[int] = []
    app = web.Application(middlewares=[behind, taken])
    app.add_routes([web.post("/refused", refuse), web.post("/accepted", accept)])
    async with TestClient(TestServer(app)) as client:
        assert (await client.post("/refused", data=b"12345")).status == 400
        assert (await client.post("/accepted", data=b"123")).status == 200
    assert seen == [(5, False), (3, False)]
