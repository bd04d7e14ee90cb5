"""Several writes as one on a real MongoDB: all or none, tried again when others interfere."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError
from store.mongo.documents import DOCUMENT_BYTES_MAX
from store.mongo.driver.client import connect
from store.mongo.indexes import HISTORY, IDEMPOTENCY, ensure_indexes
from store.mongo.resources.resources import MongoResources
from store.resources.answers import Remembered, Slot
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Deletion, Gone, Outcome, PutResult, Stored
from store.settings import StoreSettings
from tests.support.fhir import report
from tests.support.mongods import FAIL_POINTS, replica_set, standalone
from tests.support.store import LAB, NOW, OTHER, REPORT, content, mongo_store, prepared, put_one, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from store.mongo.driver.client import Database
    from store.resources.resources import StoreInTransaction
    from store.resources.versions import Prepared

SECOND = ResourceKey("DiagnosticReport", "r2")
SLOT = Slot("lab", "key 1", b"asked")
ANSWER = Remembered(b"asked", 201, {"ETag": 'W/"1"'}, b"", (), NOW.replace(year=2027))


async def test_everything_is_written(database: Database) -> None:
    store = mongo_store(database)
    await put_one(store, report("r1"))
    await put_one(store, report("old"))

    async def work(unit: StoreInTransaction) -> list[PutResult | Gone | None]:
        writes: list[Prepared | Deletion] = [
            Deletion(ResourceKey("DiagnosticReport", "old")),
            Deletion(ResourceKey("DiagnosticReport", "never")),
            prepared(report("r1", status="amended")),
            prepared(report("r2"), fresh=True),
        ]
        done = await unit.write_many(LAB, writes)
        assert content(await unit.get(LAB, SECOND))["id"] == "r2"
        assert await store.get(LAB, SECOND) is None
        asked = [
            REPORT,
            SECOND,
            ResourceKey("DiagnosticReport", "old"),
            ResourceKey("DiagnosticReport", "never"),
        ]
        read = await unit.newest(LAB, asked)
        assert {key.id: content(one)["status"] for key, one in read.items()} == {
            "r1": "amended",
            "r2": "final",
        }
        outside = await store.newest(LAB, asked)
        assert {key.id: one.version for key, one in outside.items()} == {"r1": 1, "old": 1}
        assert await store.newest(OTHER, asked) == {}
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

    async def work(unit: StoreInTransaction) -> None:
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

    async def work(unit: StoreInTransaction) -> None:
        writes = [prepared(report("r2")), prepared(report("r1"), only_version=7)]
        await unit.write_many(LAB, writes)

    with pytest.raises(ServiceError) as refused:
        await store.atomically(work)
    assert refused.value.category is Category.PRECONDITION
    assert await store.get(LAB, SECOND) is None


async def test_it_is_done_again_when_the_server_ends_it(database: Database) -> None:
    """As a new primary would."""
    store, attempts = mongo_store(database), 0

    async def work(unit: StoreInTransaction) -> None:
        nonlocal attempts
        attempts += 1
        await unit.put_many(LAB, [prepared(report("r1", conclusion=str(attempts)))])
        if attempts == 1:
            assert isinstance(unit, MongoResources)
            transaction = unit._reading._transaction
            assert transaction is not None
            await database.client.admin.command("killSessions", [transaction.session.session_id])

    await store.atomically(work)
    assert attempts == 2
    found = await store.get(LAB, REPORT)
    assert (stored(found).version, content(found)["conclusion"]) == (1, "2")


async def test_what_somebody_else_wrote_meanwhile_is_not_lost(database: Database) -> None:
    store, other, attempts = mongo_store(database), mongo_store(database), 0
    await put_one(store, report("r1"))

    async def work(unit: StoreInTransaction) -> None:
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

    async def one_more(unit: StoreInTransaction) -> None:
        found = await unit.get(LAB, REPORT)
        count = int(content(found)["conclusion"]) if found else 0
        await unit.put_many(LAB, [prepared(report("r1", conclusion=str(count + 1)))])

    await asyncio.gather(*(stores[n % 2].atomically(one_more) for n in range(20)))
    found = await stores[0].get(LAB, REPORT)
    assert (stored(found).version, content(found)["conclusion"]) == (20, "20")
    assert await database[HISTORY].count_documents({}) == 19


async def test_an_overtaken_decision_is_made_again_until_the_deadline(database: Database) -> None:
    attempts = 0

    async def work(unit: StoreInTransaction) -> None:
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

        async def work(unit: StoreInTransaction, slot: Slot = slot, key: str = key) -> str:
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


async def test_answers_remembered_at_once_are_each_kept_once(database: Database) -> None:
    store = mongo_store(database)
    slots = [SLOT._replace(name=f"key {n}") for n in range(20)]
    other = replace(ANSWER, body=b"other")
    await store.remember(LAB, slots[0], ANSWER)
    await asyncio.gather(*(store.remember(LAB, slot, other) for slot in (*slots, *slots)))
    assert await asyncio.gather(*(store.recall(LAB, one) for one in slots)) == [ANSWER, *[other] * 19]
    await asyncio.gather(*(store.remember(LAB, slot, ANSWER, anew=True) for slot in slots))
    assert await asyncio.gather(*(store.recall(LAB, one) for one in slots)) == [ANSWER] * 20


async def test_an_answer_too_large_to_be_kept_spoils_none_of_its_group(database: Database) -> None:
    store, second = mongo_store(database), SLOT._replace(name="key 2")
    large = replace(ANSWER, body=b"x" * DOCUMENT_BYTES_MAX)
    await asyncio.gather(store.remember(LAB, SLOT, large), store.remember(LAB, second, ANSWER))
    assert await store.recall(LAB, SLOT) is None
    assert await store.recall(LAB, second) == ANSWER


def chain_of(error: BaseException | None) -> list[BaseException]:
    """The error, and all that it came of; fails when one of them came of itself."""
    seen: list[BaseException] = []
    while error is not None:
        assert all(error is not one for one in seen), "an error is its own cause"
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


@pytest.fixture(scope="module")
async def failing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """A database whose server fails on demand."""
    async with replica_set(tmp_path_factory.mktemp("failing"), *FAIL_POINTS) as [member]:
        client = connect(member.uri, StoreSettings())
        await ensure_indexes(client["failing"])
        yield client["failing"]
        client.close()


async def fail(database: Database, mode: Any, **data: Any) -> None:
    await database.client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})


@pytest.mark.parametrize(("times", "survives"), [(3, True), (10_000, False)])
async def test_a_commit_of_unknown_outcome_is_asked_for_again_within_bounds(
    failing: Database, monkeypatch: pytest.MonkeyPatch, times: int, survives: bool
) -> None:
    """WriteConcernFailed at each commit: the driver says `unknown`, without its deadline being over."""
    monkeypatch.setattr("store.mongo.driver.transaction.COMMITS_MAX", 5)
    store, attempts = mongo_store(failing, store_timeout_seconds=50), 0
    before = (await failing.command("serverStatus"))["metrics"]["commands"]["commitTransaction"]["total"]
    await fail(failing, {"times": times}, failCommands=["commitTransaction"], errorCode=64)

    async def work(unit: StoreInTransaction) -> None:
        nonlocal attempts
        attempts += 1
        await unit.put_many(LAB, [prepared(report(f"commit-{times}"))])

    try:
        if survives:
            await store.atomically(work)
        else:
            with pytest.raises(ServiceError) as refused:
                await store.atomically(work)
            chain_of(refused.value)
    finally:
        await fail(failing, "off")
    after = (await failing.command("serverStatus"))["metrics"]["commands"]["commitTransaction"]["total"]
    assert attempts == 1
    assert after - before <= 10


async def test_no_failure_is_its_own_cause(failing: Database, tmp_path: Path) -> None:
    """A reader who follows causes without looking would never end."""

    async def write(unit: StoreInTransaction) -> None:
        await unit.put_many(LAB, [prepared(report("r1"))])

    async def carry_on(unit: StoreInTransaction) -> None:
        with suppress(ServiceError):
            await write(unit)

    async with standalone(tmp_path) as alone:
        client = connect(alone.uri, StoreSettings())
        for work in (write, carry_on):
            with pytest.raises(ServiceError) as refused:
                await mongo_store(client["alone"]).atomically(work)
            assert len(chain_of(refused.value)) > 1
        client.close()
    for command in ("insert", "update", "find", "aggregate", "commitTransaction"):
        await fail(failing, "alwaysOn", failCommands=[command], errorCode=8000)
        for work in (write, carry_on):
            try:
                await mongo_store(failing).atomically(work)
            except ServiceError as error:
                chain_of(error)
        await fail(failing, "off")
