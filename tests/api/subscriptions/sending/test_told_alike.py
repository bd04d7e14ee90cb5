"""Subscriptions that ask for the same: worked out once, and told to each what it is told alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.changes.changes import Position
from store.changes.kinds import Kind
from store.subscriptions.records import Holder
from tests.api.subscriptions.sending.told import told
from tests.support.fhir import report
from tests.support.subscriptions import LAB, NOW, REPORTS, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from tests.support.subscriptions import Bench

FINAL = ("status=final",)
SEARCHED = ("code:missing=false", "status=final")


async def events_of(on: Bench, id: str) -> list[tuple[str, str]]:
    return [(event.key.rpartition("/")[2], event.change) for event in await on.told_to(id)]


async def test_who_asks_alike_is_told_what_it_would_be_told_alone(database: Database) -> None:
    some = [
        kept("a", filters=FINAL),
        kept("b", filters=FINAL),
        kept("late", filters=FINAL, start=Position(2)),
        kept("new", filters=FINAL, topic=f"{REPORTS}-created"),
        kept("searched", filters=SEARCHED),
        kept("searched-too", filters=SEARCHED),
        kept("operators", filters=FINAL, holder=None),
        kept("narrow", filters=FINAL, holder=Holder("tests", "abc", ("system/*.rs?status=partial",), NOW)),
    ]
    async with told(database, *some) as (on, _):
        for number in range(4):
            await on.change(report(f"r{number}"), Kind.CREATED)
            if number == 1:
                await on.count()
        await on.change(report("r0", status="partial"), Kind.UPDATED)
        await on.change(report("r3", conclusion="more"), Kind.UPDATED)
        await on.count()
        every = [("r0", "created"), ("r1", "created"), ("r2", "created"), ("r3", "created")]
        both = [*every, ("r0", "unmatched"), ("r3", "updated")]
        assert {one.id: await events_of(on, one.id) for one in some} == {
            "a": both,
            "b": both,
            "late": [*every[2:], ("r3", "updated")],
            "new": every,
            "searched": both,
            "searched-too": both,
            "operators": both,
            "narrow": [],
        }


async def test_searches_that_are_equal_are_one(database: Database) -> None:
    async with told(database, kept("a", filters=FINAL), kept("b", filters=FINAL), kept("c")) as (on, _):
        a, b, c = [(await on.ports.standings.of(await on.get(id))).query for id in ("a", "b", "c")]
        assert a is b
        assert a is not c
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        shared = await database["outbox"].find({"_id": {"$regex": f"^{LAB}/shared/"}}).to_list(None)
        assert [one["keys"] for one in shared] == [["DiagnosticReport/r1"]]
