"""Connection kept for several commands, on a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from store.mongo.driver.pinned_connection import Lane
from store.mongo.search.snapshot import View
from tests.store.mongo.search.test_snapshot import shown
from tests.support.fhir import report
from tests.support.store import mongo_store, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.mongo.driver.client import Database


@pytest.fixture
def lane(database: Database) -> Iterator[Lane]:
    made = Lane(database.delegate)
    yield made
    made.give_back()


def connection(lane: Lane) -> Any:
    """Name that MongoDB gives the connection by which a command comes."""
    return lane.command({"hello": 1})["connectionId"]


def breaks(lane: Lane) -> None:
    """Close the connection under it, as a failover does."""
    assert lane._held is not None
    lane._held[1].conn.get_conn.close()


async def test_commands_come_by_one_connection(lane: Lane) -> None:
    assert len({connection(lane) for _ in range(5)}) == 1


async def test_a_connection_that_was_given_back_is_there_for_others(lane: Lane, database: Database) -> None:
    first = connection(lane)
    lane.give_back()
    lane.give_back()  # Nothing is held any more.
    other = Lane(database.delegate)
    assert connection(other) == first
    assert connection(lane) != first  # It is taken now.
    other.give_back()


async def test_a_command_that_is_refused_leaves_the_lane_usable(lane: Lane) -> None:
    connection(lane)
    with pytest.raises(OperationFailure):
        lane.command({"find": "resources", "filter": {"$no": 1}})
    assert lane.command({"ping": 1})["ok"] == 1


async def test_after_a_broken_connection_another_is_taken(lane: Lane) -> None:
    first = connection(lane)
    breaks(lane)
    with pytest.raises(AutoReconnect):
        lane.command({"ping": 1})
    assert connection(lane) != first


async def test_a_read_over_a_broken_connection_is_done_again(lane: Lane, database: Database) -> None:
    await put(mongo_store(database), report("r1"))
    connection(lane)
    breaks(lane)
    assert shown(View(database.delegate, None, lane=lane)) == ["r1"]
    assert shown(View(database.delegate, None, lane=lane)) == ["r1"]
