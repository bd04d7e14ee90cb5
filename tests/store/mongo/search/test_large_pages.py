"""Pages of resources of 10 MB: MongoDB is asked for one reply, however many would match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import CommandListener
from typing_extensions import override

from store.resources.pages import HistoryQuery
from tests.support.fhir import refers, report, resource
from tests.support.store import LAB, asked, every_page, ids, mongo_store, put

if TYPE_CHECKING:
    from pymongo import monitoring

    from store.mongo.driver.client import Database

LARGE = 10_000_000
REPLY_MAX = 17_000_000
"""MongoDB's 16 MB, with the names of fields around them."""


class Replies(CommandListener):
    """The bytes of all `raw` in each reply to a find or aggregate; what asks for more of one is counted."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.more = 0

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.more += event.command_name == "getMore"

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        cursor: dict[str, Any] = event.reply.get("cursor") or {}
        batch = [*cursor.get("firstBatch", ()), *cursor.get("nextBatch", ())]
        self.sizes.append(sum(len(one.get("raw", b"")) for one in batch))

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def scan(id: str, **elements: Any) -> dict[str, Any]:
    return report(id, presentedForm=[{"contentType": "image/png", "data": "A" * LARGE}], **elements)


@pytest.mark.parametrize("order", ["_sort=-date", "_sort=status"])
async def test_a_search_reads_one_reply_for_a_page(mongodb: str, database: Database, order: str) -> None:
    await put(mongo_store(database), *(scan(f"r{n}") for n in range(4)))
    replies = Replies()
    client: Any = AsyncIOMotorClient(mongodb, tz_aware=True, event_listeners=[replies])
    try:
        store = mongo_store(client[database.name])
        pages = await every_page(store, f"patient=p1&{order}", size=50)
        assert [len(page.entries) for page in pages] == [1, 1, 1, 1]
        assert pages[0].total == 4
        assert len({id for page in pages for id in ids(page.entries)}) == 4
    finally:
        client.close()
    assert replies.more == 0
    assert max(replies.sizes) < REPLY_MAX


async def test_includes_and_histories_read_what_a_page_holds(database: Database) -> None:
    store = mongo_store(database)
    device = {"contentType": "image/png", "data": "A" * LARGE}
    media = [resource("Media", f"m{n}", status="completed", content=device) for n in range(3)]
    shown = [{"link": refers(f"Media/m{n}")} for n in range(3)]
    await put(store, *media, report("r1", media=shown), report("r2", media=shown[:1]))
    pages = [await store.search(LAB, asked("patient=p1&_sort=_id&_include=*", count=50))]
    pages.append(await store.search(LAB, asked("patient=p1&_sort=_id&_include=*", position=pages[0].next)))
    # A resource and what is around it are more than a page: it is left out, and that is said.
    assert [(ids(page.entries), ids(page.included), page.incomplete) for page in pages] == [
        (["r1"], [], True),
        (["r2"], [], True),
    ]
    for n in range(2):
        await put(store, scan("r3", conclusion=str(n)))
    first = await store.history(LAB, HistoryQuery("DiagnosticReport", "r3"))
    assert (len(first.entries), first.total, first.next is not None) == (1, 2, True)
