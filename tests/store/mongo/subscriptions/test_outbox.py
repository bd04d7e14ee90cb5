"""Events are numbered without a gap, kept with the place in the feed, and only by who has the lease."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.changes.changes import Position
from store.mongo.subscriptions.documents import pieces_of
from store.retention.runs import LeaseLost
from store.subscriptions.events import Addition, Occurrence, Overtaken
from store.subscriptions.records import EarlierSecret, Status
from tests.support.subscriptions import LAB, NOW, bench, kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database
    from store.subscriptions.events import Event
    from store.subscriptions.records import Subscription

NONE: frozenset[str] = frozenset()


def addition(one: Subscription, *names: str, change: str = "created") -> Addition:
    return Addition(one, tuple(Occurrence(name, change, 1, NOW) for name in names))


async def test_events_are_numbered_without_a_gap_whoever_adds_them(
    database: Database, later: Callable[..., None]
) -> None:
    async with bench(database) as on:
        one, other = kept("s1"), kept("s2")
        await on.store.create(one)
        await on.store.create(other)
        assert not await on.store.create(one)
        first = await on.outbox.take()
        assert first is not None
        assert await on.outbox.take() is None
        await first.add(
            LAB, [addition(one, "A/1", "A/2"), addition(other, "A/1")], position=Position(2, 7), forget=NONE
        )
        assert await on.outbox.positions() == {LAB: Position(2, 7)}
        with pytest.raises(Overtaken):
            await first.add(LAB, [addition(one, "A/3")], position=Position(3), forget=NONE)
        assert await on.outbox.positions() == {LAB: Position(2, 7)}, "nothing was counted"
        later(seconds=7)
        second = await on.outbox.take()
        assert second is not None, "the lease of who died is over"
        one = await on.get("s1")
        with pytest.raises(LeaseLost):
            await first.add(LAB, [addition(one, "A/3")], position=Position(3), forget=NONE)
        with pytest.raises(LeaseLost):
            await first.renew()
        many = [f"A/{number}" for number in range(3, 1_204)]
        await second.add(LAB, [addition(one, *many)], position=Position(1_203), forget=NONE)
        seen: list[Event] = []
        after = 0
        while found := await on.outbox.events(one, after=after, limit=100):
            seen += found
            after = found[-1].number
        assert [event.number for event in seen] == list(range(1, 1_204))
        assert [event.key for event in seen] == [f"A/{number}" for number in range(1, 1_204)]
        assert (await on.get("s1")).progress.last == 1_203
        await second.release()
        third = await on.outbox.take()
        assert third is not None, "a lease that was given back is free at once"
        await third.release()


async def test_changes_that_were_counted_are_not_counted_again(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        own = await on.outbox.take()
        assert own is not None
        for number in (1, 2):
            named = [addition(await on.get(), f"A/{number}")]
            await own.add(
                LAB, named, position=Position(number, 7), forget=NONE, after=Position(number - 1, 7)
            )
        with pytest.raises(Overtaken):
            await own.add(
                LAB, [addition(await on.get(), "A/2")], position=Position(2), forget=NONE, after=Position(1)
            )
        assert (await on.get()).progress.last == 2
        # Of a tenant whose history is another one, as a restored backup brings it back.
        await own.add(LAB, (), position=Position(1, 9), forget=NONE)
        assert await on.outbox.positions() == {LAB: Position(1, 9)}
        await own.release()


async def test_a_subscription_that_is_off_or_gone_is_not_counted_for(database: Database) -> None:
    async with bench(database) as on:
        one = kept()
        await on.store.create(one)
        own = await on.outbox.take()
        assert own is not None
        assert await on.store.settle(one, Status.OFF, reason="asked")
        with pytest.raises(Overtaken):
            await own.add(LAB, [addition(one, "A/1")], position=Position(1), forget=NONE)
        assert await on.store.delete(LAB, "s1")
        with pytest.raises(Overtaken):
            await own.add(LAB, [addition(one, "A/1")], position=Position(1), forget=NONE)
        assert not await on.store.delete(LAB, "s1")
        await own.release()


async def test_names_are_forgotten_and_numbers_stay(database: Database) -> None:
    async with bench(database) as on:
        one = kept()
        await on.store.create(one)
        own = await on.outbox.take()
        assert own is not None
        await own.add(LAB, [addition(one, "A/1", "A/2", "A/1")], position=Position(3), forget=NONE)
        assert await on.outbox.knowing(LAB, [one], ["A/1", "A/9"]) == {"A/1": {"s1": "created"}}
        one = await on.get()
        await own.add(
            LAB, [addition(one, "A/1", change="erased")], position=Position(4), forget=frozenset({"A/1"})
        )
        events = await on.told_to()
        assert [(event.number, event.key, event.change) for event in events] == [
            (1, "", "created"),
            (2, "A/2", "created"),
            (3, "", "created"),
            (4, "A/1", "erased"),
        ]
        assert await on.outbox.knowing(LAB, [one], ["A/1"]) == {"A/1": {"s1": "erased"}}
        await own.release()


async def test_who_changes_a_subscription_first_wins_and_progress_is_left_alone(database: Database) -> None:
    async with bench(database) as on:
        one = kept()
        await on.store.create(one)
        await on.store.failed(one, "timeout", at=NOW, next_at=NOW + timedelta(seconds=10))
        changed = replace(one, version=2, filters=("status=final",))
        assert await on.store.replace(changed, instead_of=1)
        assert not await on.store.replace(replace(changed, version=3), instead_of=1)
        assert not await on.store.settle(one, Status.OFF), "a version that is not the current one any more"
        found = await on.get()
        assert (found.version, found.filters, found.progress.failures) == (2, ("status=final",), 0)
        assert await on.store.pause(LAB, "s1", paused=True)
        assert (await on.get()).paused
        assert not await on.store.pause(LAB, "none", paused=True)
        assert not await on.store.rewind(LAB, "s1", 5), "there are not so many events"
        assert await on.store.rewind(LAB, "s1", 0)
        assert {one.name for one in await on.store.every()} == {one.name}


async def test_a_subscription_that_was_read_is_as_it_is_now(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        known = await on.get()

        async def replaced() -> None:
            assert await on.store.replace(replace(known, version=2, filters=("status=final",)), instead_of=1)

        async def made_anew() -> None:
            assert await on.store.delete(LAB, "s1")
            assert await on.store.create(kept(created=NOW + timedelta(hours=1), filters=("status=partial",)))

        for change in (
            lambda: on.store.acknowledged(known, 0, at=NOW),
            lambda: on.store.failed(known, "timeout", at=NOW, next_at=NOW),
            lambda: on.store.pause(LAB, "s1", paused=True),
            lambda: on.store.settle(known, Status.ERROR, reason="lost"),
            replaced,
            made_anew,
        ):
            await change()
            now = await on.get()
            assert await on.store.fresh(known) == now
            assert await on.store.every({known.name: known}) == (now,) == await on.store.every()
        assert await on.store.delete(LAB, "s1")
        assert await on.store.fresh(known) is None


async def test_the_secret_before_is_read_as_it_was_kept_at_first(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept(generation=3))
        until = NOW + timedelta(hours=1)
        first = {"$set": {"previous_until": until}, "$unset": {"earlier": 1}}
        await database["subscriptions"].update_one({}, first)
        one = await on.get()
        assert one.earlier == ((2, until),)
        again = replace(one, version=2, generation=4, earlier=(EarlierSecret(3, until), *one.earlier))
        assert await on.store.replace(again, instead_of=1)
        assert (await on.get()).earlier == ((3, until), (2, until))


async def test_what_is_left_of_one_that_went_is_none_of_the_next_under_its_id(database: Database) -> None:
    async with bench(database) as on:
        first, second = kept(), kept(created=NOW + timedelta(milliseconds=1))
        await on.store.create(first)
        own = await on.outbox.take()
        assert own is not None
        await own.add(LAB, [addition(first, "A/1", "A/2")], position=Position(2), forget=NONE)
        # The process ends between the two deletions.
        await database["subscriptions"].delete_one({"_id": first.name})
        await on.store.create(second)
        assert await on.told_to() == []
        assert await on.outbox.knowing(LAB, [second], ["A/1"]) == {}
        await own.add(LAB, [addition(second, "A/3")], position=Position(3), forget=NONE)
        assert [(event.number, event.key) for event in await on.told_to()] == [(1, "A/3")]
        # The deletion of the first one's events is slow.
        await database["outbox"].delete_many(pieces_of(str(LAB), first.name, first.created))
        assert [(event.number, event.key) for event in await on.told_to()] == [(1, "A/3")]
        assert await database["outbox"].count_documents({"subscription": first.name}) == 1
        late = replace(first, version=2, filters=("status=final",))
        assert not await on.store.replace(late, instead_of=1), "it was read before"
        await own.release()


async def test_a_failure_of_one_who_was_frozen_meanwhile_is_none(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        own = await on.outbox.take()
        assert own is not None
        await own.add(LAB, [addition(await on.get(), "A/1")], position=Position(1), forget=NONE)
        frozen = await on.get()
        await on.store.acknowledged(await on.get(), 1, at=NOW)
        await on.store.failed(frozen, "timeout", at=NOW, next_at=NOW + timedelta(seconds=10))
        assert (await on.get()).progress.next_at is None
        await own.release()
