"""MongoDB's own log under the follower: rolled over for good, and with a primary that steps down."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from api.app import utc_now
from store.mongo.changes.place import begin, operation_time
from store.mongo.driver.client import connect
from store.mongo.indexes import ensure_indexes
from store.settings import StoreSettings
from tests.support.changes import changes_of, follower_of, following, heard, told
from tests.support.fhir import report
from tests.support.mongod import frozen, step_down
from tests.support.mongods import primary_of, replica_set, uri_of
from tests.support.store import mongo_store, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Database
    from tests.support.mongods import Mongod

FILLING = b"x" * 12_000_000
"""Bytes of what rolls a log of 50 MB over."""


@pytest.fixture(scope="module")
async def member(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongod]:
    async with replica_set(tmp_path_factory.mktemp("log")) as members:
        yield members[0]


@pytest.fixture
async def own(member: Mongod) -> AsyncIterator[Database]:
    """A database of a mongod whose log is small."""
    client = connect(uri_of([member]), StoreSettings())
    database = client["dod_log"]
    await client.drop_database("dod_log")
    await ensure_indexes(database)
    await begin(database, now=utc_now())
    yield database
    client.close()


@pytest.mark.skipif("CHAOS_SECONDS" not in os.environ, reason="it takes a minute; `make chaos` runs it")
async def test_a_log_that_has_really_rolled_over(own: Database, caplog: pytest.LogCaptureFixture) -> None:
    store, changes = mongo_store(own, clock=utc_now), changes_of(own, utc_now)
    await put(store, report("r1"))
    async with following(follower_of(own, utc_now)):
        await heard(changes, 1)
    await put(store, report("r2"))
    await put(store, report("r1", status="corrected"))
    last, log = await operation_time(own), own.client["local"]["oplog.rs"]
    async with asyncio.timeout(120):
        while True:
            await own["filling"].insert_one({"bytes": FILLING})
            [oldest] = await log.find({}, {"ts": 1}, sort=[("$natural", 1)], limit=1).to_list(None)
            if oldest["ts"] > last:
                break
    async with following(follower_of(own, utc_now)):
        await heard(changes, 3)
        await put(store, report("r3"))
        found = await heard(changes, 4)
    # The version that nobody read is left out; what the scan goes back for is told again.
    assert {one for one in told(found) if one[1].endswith("r1")} == {
        ("created", "DiagnosticReport/r1", 1),
        ("corrected", "DiagnosticReport/r1", 2),
    }
    assert told(found)[-1] == ("created", "DiagnosticReport/r3", 1)
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert "no longer reaches back" in caplog.text


async def test_a_primary_that_steps_down_loses_and_doubles_nothing(own: Database, member: Mongod) -> None:
    store, changes = mongo_store(own, clock=utc_now), changes_of(own, utc_now)
    async with following(follower_of(own, utc_now)):
        await put(store, report("r1"))
        await heard(changes, 1)
        await step_down(member.uri, 1)
        await primary_of([member])
        await put(store, report("r2"))
        found = await heard(changes, 2)
    assert [(one.number, one.key.id) for one in found] == [(1, "r1"), (2, "r2")]


async def test_a_database_that_stands_still_is_followed_again(own: Database, member: Mongod) -> None:
    store, changes = mongo_store(own, clock=utc_now), changes_of(own, utc_now)
    assert member.process is not None
    async with following(follower_of(own, utc_now, store_timeout_seconds=0.2)):
        await put(store, report("r1"))
        await heard(changes, 1)
        with frozen(member.process.pid):
            await asyncio.sleep(2)  # Longer than a read waits for events and for an answer.
        await put(store, report("r2"))
        found = await heard(changes, 2)
    assert [(one.number, one.key.id) for one in found] == [(1, "r1"), (2, "r2")]
