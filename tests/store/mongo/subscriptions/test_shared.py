"""Events that several subscriptions are told are kept once, and are events of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.changes.changes import Position
from store.mongo.subscriptions import documents as module
from store.subscriptions.events import Addition, Occurrence
from tests.support.subscriptions import LAB, NOW, bench, kept

if TYPE_CHECKING:
    import pytest

    from store.mongo.driver.client import Database
    from store.subscriptions.events import Delivering
    from tests.support.subscriptions import Bench

NONE: frozenset[str] = frozenset()


def occurrences(*names: str, change: str = "created") -> tuple[Occurrence, ...]:
    return tuple(Occurrence(name, change, 1, NOW) for name in names)


async def add(
    on: Bench,
    own: Delivering,
    place: int,
    told: dict[str, tuple[Occurrence, ...]],
    forget: frozenset[str] = NONE,
) -> None:
    some = [Addition(await on.get(id), one) for id, one in told.items()]
    await own.add(LAB, some, position=Position(place), forget=forget)


async def names(on: Bench, id: str, after: int = 0, limit: int = 100) -> list[tuple[int, str]]:
    found = await on.outbox.events(await on.get(id), after=after, limit=limit)
    return [(event.number, event.key) for event in found]


async def test_each_has_its_own_numbers_of_what_is_kept_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_MAX", 2)
    async with bench(database) as on:
        for id in ("a", "b", "c"):
            await on.store.create(kept(id))
        own = await on.outbox.take()
        assert own is not None
        same = occurrences("A/2", "A/3", "A/4")
        await add(on, own, 1, {"a": occurrences("A/1")})
        await add(on, own, 2, {"a": same, "b": same, "c": occurrences("A/2", "A/3", "A/4")})
        await add(on, own, 3, {"b": occurrences("A/5"), "c": occurrences("A/6")})
        expected = {
            "a": [(1, "A/1"), (2, "A/2"), (3, "A/3"), (4, "A/4")],
            "b": [(1, "A/2"), (2, "A/3"), (3, "A/4"), (4, "A/5")],
            "c": [(1, "A/2"), (2, "A/3"), (3, "A/4"), (4, "A/6")],
        }
        for id, events in expected.items():
            for after in range(5):
                for limit in range(1, 5):
                    assert await names(on, id, after, limit) == events[after : after + limit], (
                        id,
                        after,
                        limit,
                    )
        with_events = await database["outbox"].find({"events": {"$exists": True}}).to_list(None)
        assert sorted(len(one["events"]) for one in with_events) == [1, 1, 1, 1, 1, 2, 2]
        some = await on.store.of_tenant(LAB)
        assert await on.outbox.knowing(LAB, some, ["A/1", "A/4", "A/9"]) == {
            "A/1": {"a": "created"},
            "A/4": {"a": "created", "b": "created", "c": "created"},
        }
        await own.release()


async def test_what_goes_is_forgotten_for_all_and_who_goes_leaves_the_others_theirs(
    database: Database,
) -> None:
    async with bench(database) as on:
        for id in ("a", "names-somebody"):
            await on.store.create(kept(id))
        own = await on.outbox.take()
        assert own is not None
        same = occurrences("A/1", "A/2")
        await add(on, own, 1, {"a": same, "names-somebody": same})
        gone = occurrences("A/1", change="erased")
        await add(on, own, 2, {"a": gone, "names-somebody": gone}, frozenset({"A/1"}))
        some = await on.store.of_tenant(LAB)
        expected = [(1, ""), (2, "A/2"), (3, "A/1")]
        assert await names(on, "a") == await names(on, "names-somebody") == expected
        assert await on.outbox.knowing(LAB, some, ["A/1"]) == {
            "A/1": {"a": "erased", "names-somebody": "erased"}
        }
        assert await on.store.delete(LAB, "names-somebody")
        assert await names(on, "a") == expected
        assert await on.outbox.knowing(LAB, some, ["A/2"]) == {"A/2": {"a": "created"}}
        assert "names-somebody" not in str(await database["outbox"].find({}).to_list(None))
        await own.release()


async def test_who_shares_a_document_is_found_by_an_index(database: Database) -> None:
    wanted = {"tenant": str(LAB), "shared": {"$in": ["lab/Production/shared/1", "lab/Production/shared/2"]}}
    plan = (await database["outbox"].find(wanted).hint("sharing").explain())["queryPlanner"]["winningPlan"]
    assert plan["inputStage"]["indexName"] == "sharing"
    assert len(plan["inputStage"]["indexBounds"]["shared"]) == 2
