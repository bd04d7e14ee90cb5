"""Several writes as one on a real MongoDB: all or none, tried again when others interfere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.idempotency import Remembered, Slot
from store.mongo.indexes import HISTORY, IDEMPOTENCY
from store.mongo.resources import MongoResources
from store.resources import Deletion, Gone, Outcome, PutResult, ResourceKey, Stored
from tests.support.fhir import report
from tests.support.store import LAB, NOW, OTHER, REPORT, content, mongo_store, prepared, put_one, stored

if TYPE_CHECKING:
    from store.mongo.client import Database
    from store.resources import Prepared, Unit

SECOND = ResourceKey("DiagnosticReport", "r2")
SLOT = Slot("lab", "key 1", b"asked")
ANSWER = Remembered(b"asked", 201, {"ETag": 'W/"1"'}, b"", (), NOW.replace(year=2027))


async def test_everything_is_written(database: Database) -> None:
    store = mongo_store(database)
    await put_one(store, report("r1"))
    await put_one(store, report("old"))

    async def work(unit: Unit) -> list[PutResult | Gone | None]:
        writes: list[Prepared | Deletion] = [
            Deletion(ResourceKey("DiagnosticReport", "old")),
            Deletion(ResourceKey("DiagnosticReport", "never")),
            prepared(report("r1", status="amended")),
            prepared(report("r2"), fresh=True),
        ]
        done = await unit.write_many(LAB, writes)
        assert content(await unit.get(LAB, SECOND))["id"] == "r2"
        assert await store.get(LAB, SECOND) is None
        return done

    gone, nothing, replaced, created = await store.atomically(work)
    assert isinstance(gone, Gone)
    assert nothing is None
    assert isinstance(replaced, PutResult)
    assert isinstance(created, PutResult)
    assert (gone.version, replaced.outcome, created.outcome) == (2, Outcome.REPLACED, Outcome.CREATED)
    assert stored(await store.get(LAB, REPORT)).version == 2
    assert content(await store.get_version(LAB, REPORT, 1))["status"] == "final"
    kept = await database[HISTORY].find_one({"_id": "lab/Production/DiagnosticReport/r1/1"})
    assert kept is not None
    assert not {"index", "keys", "when"} & set(kept)
    assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", "old")), Gone)
    assert isinstance(await store.get(LAB, SECOND), Stored)


class Struck(BaseException):
    """As the end of the process would be."""


@pytest.mark.parametrize("ends", [RuntimeError, Struck, asyncio.CancelledError])
async def test_nothing_is_written_when_it_ends_in_the_middle(
    database: Database, ends: type[BaseException]
) -> None:
    store = mongo_store(database)
    await put_one(store, report("r1"))

    async def work(unit: Unit) -> None:
        await unit.claim(LAB, SLOT, ANSWER.until)
        await unit.put_many(LAB, [prepared(report("r1", status="amended"))])
        await unit.put_many(LAB, [prepared(report("r2"))])
        raise ends

    with pytest.raises(ends):
        await store.atomically(work)
    assert stored(await store.get(LAB, REPORT)).version == 1
    assert await store.get(LAB, SECOND) is None
    assert await database[HISTORY].count_documents({}) == 0
    assert await database[IDEMPOTENCY].count_documents({}) == 0


async def test_one_refused_write_refuses_all(database: Database) -> None:
    store = mongo_store(database)

    async def work(unit: Unit) -> None:
        writes = [prepared(report("r2")), prepared(report("r1"), only_version=7)]
        await unit.write_many(LAB, writes)

    with pytest.raises(ServiceError) as refused:
        await store.atomically(work)
    assert refused.value.category is Category.PRECONDITION
    assert await store.get(LAB, SECOND) is None


async def test_it_is_done_again_when_the_server_ends_it(database: Database) -> None:
    """As a new primary would."""
    store, attempts = mongo_store(database), 0

    async def work(unit: Unit) -> None:
        nonlocal attempts
        attempts += 1
        await unit.put_many(LAB, [prepared(report("r1", conclusion=str(attempts)))])
        if attempts == 1:
            assert isinstance(unit, MongoResources)
            assert unit._open is not None
            await database.client.admin.command("killSessions", [unit._open.session.session_id])

    await store.atomically(work)
    assert attempts == 2
    found = await store.get(LAB, REPORT)
    assert (stored(found).version, content(found)["conclusion"]) == (1, "2")


async def test_what_somebody_else_wrote_meanwhile_is_not_lost(database: Database) -> None:
    store, other, attempts = mongo_store(database), mongo_store(database), 0
    await put_one(store, report("r1"))

    async def work(unit: Unit) -> None:
        nonlocal attempts
        attempts += 1
        assert isinstance(await unit.get(LAB, REPORT), Stored)
        if attempts == 1:
            await put_one(other, report("r1", conclusion="other"))
        await unit.put_many(LAB, [prepared(report("r1", conclusion="mine"))])

    await store.atomically(work)
    assert attempts == 2
    texts = [content(await store.get_version(LAB, REPORT, n)).get("conclusion") for n in (1, 2, 3)]
    assert texts == [None, "other", "mine"]


async def test_two_stores_count_one_by_one(database: Database) -> None:
    stores = [mongo_store(database) for _ in range(2)]

    async def one_more(unit: Unit) -> None:
        found = await unit.get(LAB, REPORT)
        count = int(content(found)["conclusion"]) if found else 0
        await unit.put_many(LAB, [prepared(report("r1", conclusion=str(count + 1)))])

    await asyncio.gather(*(stores[n % 2].atomically(one_more) for n in range(20)))
    found = await stores[0].get(LAB, REPORT)
    assert (stored(found).version, content(found)["conclusion"]) == (20, "20")
    assert await database[HISTORY].count_documents({}) == 19


async def test_an_overtaken_decision_is_made_again_until_the_deadline(database: Database) -> None:
    attempts = 0

    async def work(unit: Unit) -> None:
        nonlocal attempts
        attempts += 1
        raise unit.overtaken()

    with pytest.raises(ServiceError) as refused:
        await mongo_store(database, store_timeout_seconds=0.2).atomically(work)
    assert refused.value.category is Category.CONFLICT
    assert attempts > 1


async def test_twenty_claims_of_one_request_are_answered_by_one(database: Database) -> None:
    stores = [mongo_store(database) for _ in range(2)]
    for round_ in range(10):
        slot, key = SLOT._replace(name=f"key {round_}"), f"r{round_}"

        async def work(unit: Unit, slot: Slot = slot, key: str = key) -> str:
            if await unit.recall(LAB, slot) is not None:
                return "again"
            await unit.claim(LAB, slot, ANSWER.until)
            await unit.put_many(LAB, [prepared(report(key))])
            await unit.remember(LAB, slot, ANSWER)
            return "done"

        said = await asyncio.gather(*(stores[n % 2].atomically(work) for n in range(20)))
        assert sorted(said) == ["again"] * 19 + ["done"]
    assert await database[IDEMPOTENCY].count_documents({}) == 10


async def test_answers_are_remembered_for_their_client_tenant_and_time(database: Database) -> None:
    now = NOW
    store = mongo_store(database, clock=lambda: now)
    assert await store.recall(LAB, SLOT) is None
    await store.remember(LAB, SLOT, ANSWER)
    assert await store.recall(LAB, SLOT) == ANSWER
    assert await store.recall(OTHER, SLOT) is None
    assert await store.recall(LAB, SLOT._replace(client="other")) is None
    later = Remembered(b"other", 200, {}, b"{}", (), ANSWER.until.replace(year=2028))
    await store.remember(LAB, SLOT, later)
    assert await store.recall(LAB, SLOT) == ANSWER
    now = ANSWER.until
    assert await store.recall(LAB, SLOT) is None
    await store.remember(LAB, SLOT, later)
    assert await store.recall(LAB, SLOT) == later
