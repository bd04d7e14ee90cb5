"""Counters of subscriptions: kept for all of a tenant together, and gone with what they are of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.changes.changes import Position
from store.subscriptions.events import Addition, Occurrence, Overtaken
from tests.support.store import OTHER
from tests.support.subscriptions import LAB, NOW, bench, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

NONE: frozenset[str] = frozenset()


async def test_a_number_from_before_that_is_not_the_one_that_was_read_counts_nothing(
    database: Database,
) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        read = await on.get()
        await database["subscriptions"].update_one({}, {"$set": {"progress.last": 7}})
        own = await on.outbox.take()
        assert own is not None
        one = Addition(read, (Occurrence("A/1", "created", 1, NOW),))
        with pytest.raises(Overtaken):
            await own.add(LAB, [one], position=Position(1), forget=NONE)
        assert (await on.get()).progress.last == 7
        await own.release()


async def test_answers_of_many_receivers_are_noted_together_unless_they_were_rewound(
    database: Database,
) -> None:
    async with bench(database) as on:
        names = ["a", "b.c", "b-c"]
        for name in names:
            for tenant in (LAB, OTHER):
                await on.store.create(kept(name, tenant=tenant))
        own = await on.outbox.take()
        assert own is not None
        three = tuple(Occurrence(f"A/{number}", "created", 1, NOW) for number in range(3))
        some = await on.store.of_tenant(LAB)
        await own.add(LAB, [Addition(one, three) for one in some], position=Position(3), forget=NONE)
        known = {one.id: one for one in await on.store.of_tenant(LAB)}
        for number, name in enumerate(names, 1):
            await on.store.acknowledged(known[name], number, at=NOW + timedelta(seconds=number))
        found = {one.id: one.progress for one in await on.store.of_tenant(LAB)}
        assert {name: (one.last, one.delivered, one.heard_at) for name, one in found.items()} == {
            name: (3, number, NOW + timedelta(seconds=number)) for number, name in enumerate(names, 1)
        }
        begun = await on.get("b.c")
        assert await on.store.rewind(LAB, "b.c", 0)
        await on.store.acknowledged(begun, 3, at=NOW)
        await on.store.acknowledged(await on.get("a"), 2, at=NOW)
        delivered = {one.id: one.progress.delivered for one in await on.store.of_tenant(LAB)}
        assert delivered == {"a": 2, "b.c": 0, "b-c": 3}
        assert {one.progress.last for one in await on.store.of_tenant(OTHER)} == {0}
        await own.release()


async def test_nothing_is_left_of_a_subscription_that_went(database: Database) -> None:
    async def seats() -> list[Any]:
        found = await database["outbox"].find({"_id": {"$regex": "^(position|delivered) "}}).to_list(None)
        names = ("last", "delivered", "heard")
        return [sorted(one[name]) for one in found for name in names if one.get(name)]

    async with bench(database) as on:
        own = await on.outbox.take()
        assert own is not None
        for id in ("s1", "s2"):
            await on.store.create(kept(id))
            one = Addition(await on.get(id), (Occurrence("A/1", "created", 1, NOW),))
            await own.add(LAB, [one], position=Position(1), forget=NONE)
            await on.store.acknowledged(await on.get(id), 1, at=NOW)
        await own.release()
        gone = await on.get("s1")
        assert await on.store.delete(LAB, "s1")
        left = [[f"s2@{int(NOW.timestamp() * 1000)}"]] * 3
        assert await seats() == left
        await on.store.acknowledged(gone, 1, at=NOW)
        assert await seats() != left, "its receiver answers behind its end"
        await on.outbox.tidy()
        assert await seats() == left
        # A page that was under way comes behind the deletion of its events.
        await on.store.create(kept("s.1"))
        own = await on.outbox.take()
        assert own is not None
        await own.add(
            LAB, [Addition(await on.get("s.1"), one.occurrences)], position=Position(2), forget=NONE
        )
        await own.release()
        await database["subscriptions"].delete_one({"id": "s.1"})
        own = await on.outbox.take()
        assert own is not None
        assert await seats() == left
        assert [
            one["subscription"] async for one in database["outbox"].find({"subscription": {"$exists": True}})
        ] == [f"{LAB}/s2"]
        await own.release()
