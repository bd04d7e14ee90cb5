"""Look-ups that share a turn of a thread and its connection, on a real MongoDB."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from store.mongo.driver.look_ups import LookUps
from store.mongo.driver.pinned_connection import Lane
from store.settings import StoreSettings
from tests.support.store import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.mongo.driver.client import Database

THINGS = "things"


@pytest.fixture
def look_ups(database: Database) -> Iterator[LookUps]:
    made = LookUps(database, settings=StoreSettings(mongodb_database=database.name))
    yield made
    made.close()


def numbered(least: int, **command: Any) -> dict[str, Any]:
    return {"find": THINGS, "filter": {"_id": {"$gte": least}}, "sort": {"_id": 1}, **command}


async def test_each_of_many_at_once_gets_its_own(look_ups: LookUps, database: Database) -> None:
    await database[THINGS].insert_many([{"_id": n, "at": NOW} for n in range(40)])
    found = await asyncio.gather(*(look_ups.find(numbered(n)) for n in range(41)))
    assert [[one["_id"] for one in some] for some in found] == [list(range(n, 40)) for n in range(41)]
    assert {one["at"] for some in found for one in some} == {NOW}  # With its zone, as Motor gives it.


async def test_documents_in_several_replies_are_all_there(look_ups: LookUps, database: Database) -> None:
    await database[THINGS].insert_many([{"_id": n} for n in range(10)])
    assert len(await look_ups.find(numbered(0, batchSize=2))) == 10
    assert len(await look_ups.find(numbered(0, batchSize=2, limit=5))) == 5


async def test_a_refused_one_is_its_askers_alone(look_ups: LookUps, database: Database) -> None:
    await database[THINGS].insert_one({"_id": 1})
    wrong = {"find": THINGS, "filter": {"$no": 1}}
    asked = (look_ups.find(numbered(0)), look_ups.find(wrong), look_ups.find(numbered(0)))
    first, refused, last = await asyncio.gather(*asked, return_exceptions=True)
    assert first == last == [{"_id": 1}]
    assert isinstance(refused, OperationFailure)


async def test_one_over_a_broken_connection_is_done_again(
    look_ups: LookUps, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database[THINGS].insert_one({"_id": 1})

    def broken(_: Lane, __: dict[str, Any]) -> dict[str, Any]:
        text = "connection closed"
        raise AutoReconnect(text)

    monkeypatch.setattr(Lane, "command", broken)
    assert await look_ups.find(numbered(0)) == [{"_id": 1}]
