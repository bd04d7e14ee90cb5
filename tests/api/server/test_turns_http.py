"""Requests that come together: a few begin in each turn of the event loop, one of each sender first."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from ingest.work import AT_ONCE
from tests.support.edge import edge_routes, memory_access, serving
from tests.support.wire import head, wire

if TYPE_CHECKING:
    from aiohttp.web_request import Request

METADATA = "/fhir/R4/lab/Production/metadata"
LINES, EACH = 30, 10


async def test_many_requests_that_come_together_begin_by_turns() -> None:
    """Thirty connections have ten requests each; another address that comes last is among the first."""
    turn, began, senders = 0, list[int](), list[str]()
    is_over = False

    def count() -> None:
        nonlocal turn
        turn += 1
        if not is_over:
            asyncio.get_running_loop().call_soon(count)

    async def answer(request: Request) -> web.Response:
        began.append(turn)
        senders.append(request.headers.get("X-Sender", ""))
        return web.Response()

    access = memory_access()
    request = head("GET", METADATA, {})
    async with serving(access, routes=edge_routes(answer)) as client, AsyncExitStack() as stack:
        many = [await stack.enter_async_context(wire(client)) for _ in range(LINES)]
        other = await stack.enter_async_context(wire(client, "127.0.0.2"))
        count()
        for one in many:
            one.writer.write(request * EACH)
        other.writer.write(head("GET", METADATA, {"X-Sender": "other"}))
        assert (await other.reply()).status == 200
        for one in many:
            for _ in range(EACH):
                assert (await one.reply()).status == 200
        is_over = True
    assert len(began) == LINES * EACH + 1
    # Those that have waited come to their handler one turn later than those that have not.
    assert max(Counter(began).values()) <= 2 * AT_ONCE
    assert senders.index("other") <= LINES + AT_ONCE
