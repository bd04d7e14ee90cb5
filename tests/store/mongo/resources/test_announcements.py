"""Answers that are kept before what they tell of is done: one for each request, whoever dies in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import IDEMPOTENCY
from store.mongo.rules.erased_names import ErasedNames
from store.resources.answers import Remembered, Shown, Slot
from store.resources.resource_keys import ResourceKey
from store.retention.erased_names import KEY, Name
from store.retention.policy import Policy
from store.settings import StoreSettings
from tests.support.fhir import report
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, let, metrics, mongo_store, prepared

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.tenancy import Tenant

SLOT = Slot("client", "key 1", b"this")


def answer(id: str = "r1", **changed: Any) -> Remembered:
    key = ResourceKey("DiagnosticReport", id)
    made = Remembered(
        b"this",
        201,
        {"ETag": 'W/"1"'},
        b"",
        (Shown(None, key, 1),),
        NOW + timedelta(days=7),
        creates=key,
        done=False,
    )
    return replace(made, **changed)


async def announce(
    store: MongoResources, one: Remembered, slot: Slot = SLOT, tenant: Tenant = LAB
) -> Remembered:
    assert one.creates is not None
    return await store.announce(tenant, slot, one, prepared(report(one.creates.id)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, clock: Clock) -> MongoResources:
    return mongo_store(database, clock=clock)


async def test_the_first_one_stays(store: MongoResources) -> None:
    first = answer("a")
    assert await announce(store, first) == first
    assert await announce(store, answer("b", fingerprint=b"other")) == first
    assert await store.recall(LAB, SLOT) == first


async def test_of_many_at_once_one_stays(database: Database, clock: Clock) -> None:
    stores = [mongo_store(database, clock=clock) for _ in range(2)]
    for number in range(20):
        slot = SLOT._replace(name=f"key {number}")
        kept = await asyncio.gather(
            *(announce(stores[n % 2], answer(f"{number}-{n}"), slot) for n in range(20))
        )
        [(one, times)] = Counter(str(one.creates) for one in kept).items()
        assert times == 20
        assert one.startswith(f"DiagnosticReport/{number}-")


async def test_one_for_each_tenant_client_and_name(store: MongoResources) -> None:
    slots = [SLOT, SLOT._replace(client="other"), SLOT._replace(name="key 2")]
    for tenant in (LAB, OTHER):
        for number, slot in enumerate(slots):
            mine = answer(f"r{number}")
            assert await announce(store, mine, slot, tenant) == mine


async def test_what_has_expired_makes_room(store: MongoResources, clock: Clock) -> None:
    await announce(store, answer("a"))
    clock.move(days=7)
    later = answer("b", until=clock() + timedelta(days=7))
    kept = await asyncio.gather(*(announce(store, replace(later), SLOT) for _ in range(5)))
    assert kept == [later] * 5


async def test_what_was_claimed_and_never_answered_makes_room(store: MongoResources) -> None:
    async def work(unit: Any) -> None:
        await unit.claim(LAB, SLOT, NOW + timedelta(days=7))

    await store.atomically(work)
    assert await announce(store, answer()) == answer()


async def test_it_is_remembered_no_longer_than_the_policy_says(
    store: MongoResources, database: Database, clock: Clock
) -> None:
    await let(database, Policy(idempotency_days=2))
    assert (await announce(store, answer())).until == clock() + timedelta(days=2)


async def test_what_is_fulfilled_is_marked(store: MongoResources, database: Database) -> None:
    slots = [SLOT._replace(name=f"key {n}") for n in range(3)]
    for slot in slots:
        await announce(store, answer(slot.name[4:]), slot)
    for slot in slots[:2]:
        store.fulfil(LAB, slot)
    await store.drain()
    there = await database[IDEMPOTENCY].find({}, sort=[("_id", 1)]).to_list(None)
    assert [one["done"] for one in there] == [True, True, False]


async def test_what_is_withdrawn_leaves_the_key(store: MongoResources, database: Database) -> None:
    await announce(store, answer("a"))
    await store.withdraw(LAB, SLOT)
    assert await announce(store, answer("b")) == answer("b")
    await database[IDEMPOTENCY].update_many({}, {"$set": {"done": True}})
    await store.withdraw(LAB, SLOT)
    assert await store.recall(LAB, SLOT) == answer("b", done=True)


async def test_what_would_be_refused_uses_up_no_key(
    store: MongoResources, database: Database, clock: Clock
) -> None:
    erasures = ErasedNames(
        database, settings=StoreSettings(policy_cache_seconds=0), clock=clock, metrics=metrics()
    )
    names, until = [Name(KEY, "DiagnosticReport/gone")], clock() + timedelta(days=9)
    await erasures.place(LAB, names, group="x", now=clock(), until=until)
    other = SLOT._replace(name="key 2")
    kept = await asyncio.gather(
        announce(store, answer("gone")), announce(store, answer("r2"), other), return_exceptions=True
    )
    assert isinstance(kept[0], ServiceError)
    assert (kept[0].category, kept[1]) == (Category.GONE, answer("r2"))
    with pytest.raises(ServiceError) as refused:
        await mongo_store(database, clock=clock, resource_bytes_max=1_000).announce(
            LAB, SLOT, answer("r1"), prepared(report("r1", conclusion="x" * 1_000))
        )
    assert refused.value.category is Category.TOO_LARGE
    assert await store.recall(LAB, SLOT) is None


async def test_a_transaction_and_an_announcement_of_one_key(database: Database, clock: Clock) -> None:
    """The first to come has it, and the other one hears what it was used for."""
    stores = [mongo_store(database, clock=clock) for _ in range(2)]
    for number in range(20):
        slot = SLOT._replace(name=f"key {number}")
        theirs = answer(creates=None, done=True, fingerprint=b"that")

        async def claims(unit: Any, slot: Slot = slot, theirs: Remembered = theirs) -> Remembered:
            known: Remembered | None = await unit.recall(LAB, slot)
            if known is None:
                await unit.claim(LAB, slot, theirs.until)
                await unit.remember(LAB, slot, theirs)
            return known or theirs

        kept = await asyncio.gather(stores[0].atomically(claims), announce(stores[1], answer(), slot))
        assert kept[0] == kept[1]
