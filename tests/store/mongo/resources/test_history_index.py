"""A page of a history is a short scan of each of its sources, however many versions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from store.mongo.indexes import ensure_indexes
from store.mongo.resources.histories import finds, sources
from store.resources.pages import HistoryQuery
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Position
from tests.support.fhir import report, resource
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Client, Database

TYPE = "DiagnosticReport"
EACH = 40
"""Current ones, tombstones and replaced ones alike."""


@pytest.fixture(scope="module")
async def full(mongo_client: Client) -> AsyncIterator[Database]:
    """A database for tests that only read."""
    database = mongo_client[f"dod_{uuid4().hex}"]
    await ensure_indexes(database)
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    for tenant in (LAB, OTHER):
        for n in range(EACH):
            clock.move(minutes=1)
            await put(
                store, report(f"r{n}"), report(f"d{n}"), resource("Observation", f"o{n}"), tenant=tenant
            )
        for n in range(EACH):
            clock.move(minutes=1)
            await put(store, report(f"r{n}", status="amended"), tenant=tenant)
            await store.delete(tenant, ResourceKey(TYPE, f"d{n}"))
    yield database
    await mongo_client.drop_database(database.name)


def stages(plan: Any) -> list[str]:
    """The stages of a plan, outermost first."""
    return [plan["stage"], *stages(plan["inputStage"])] if "inputStage" in plan else [plan["stage"]]


MIDDLE = Position((1_763_816_400_000_000 + 365 * 86_400_000_000, "r5"))


@pytest.mark.parametrize(
    "query",
    [
        HistoryQuery(TYPE, count=5),
        HistoryQuery(TYPE, count=5, since=0),
        HistoryQuery(TYPE, count=5, position=MIDDLE),
        HistoryQuery(TYPE, "r7", count=5),
        HistoryQuery(TYPE, "d7", count=5),
    ],
    ids=["type", "since", "page", "instance", "deleted"],
)
async def test_a_page_is_a_short_scan(full: Database, query: HistoryQuery) -> None:
    returned = 0
    for source in sources(str(LAB), query, now=NOW):
        matching, fields = finds(source, query)
        command: dict[str, Any] = {"find": source.collection, "filter": matching, "projection": fields}
        command |= {"hint": source.hint, "limit": query.count + 1, "sort": dict(source.sort)}
        explained: Any = await full.command({"explain": command, "verbosity": "executionStats"})
        ran = stages(explained["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in ran or "IDHACK" in ran, ran
        assert not {"COLLSCAN", "SORT"} & set(ran), (source, ran)
        statistics = explained["executionStats"]
        assert statistics["totalDocsExamined"] <= query.count + 1
        assert statistics["totalKeysExamined"] <= query.count + 2
        returned += statistics["nReturned"]
    assert returned == (2 if query.id else 18)


async def test_what_is_deleted_alone_is_in_its_index(full: Database) -> None:
    there = await full["resources"].index_information()
    assert there["deleted"]["partialFilterExpression"] == {"was": {"$exists": True}}
    assert await full["resources"].count_documents({"was": {"$exists": True}}) == 2 * EACH
