"""Expired resources go, all of them, once and counted; those that are held or needed stay."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS, HISTORY, RESOURCES, ensure_indexes
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.mongo.retention import overdue
from store.resources.resource_keys import ResourceKey
from store.settings import StoreSettings
from tests.store.mongo.retention.sweeping.swept import (
    DAY,
    OVER,
    SECOND,
    as_planned,
    by_row,
    fill,
    observation,
    refused,
    results,
)
from tests.store.mongo.test_files import new_file
from tests.support.fhir import patient, report
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, metrics, mongo_policies, mongo_store, put, put_one
from tests.support.sweeping import COLLECTIONS, HeldIds, lines, stored, sweep, sweeping_of

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.mongo.retention.sweeping import MongoSweeping

EVERYTHING = {
    ("DiagnosticReport", "retention"): 12,
    ("DiagnosticReport", "deleted"): 1,
    ("DiagnosticReport", "with-resource"): 3,
    ("Observation", "retention"): 5,
    ("Patient", "retention"): 2,
    ("Binary", "file"): 2,
    ("", "dead-letter"): 4,
}


async def test_what_has_expired_goes_and_is_counted(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = NOW + 9 * DAY - timedelta(milliseconds=1)
    await put(store, report("live", "p9"), patient("p9"))
    clock.now = OVER
    [receipt] = await sweep(sweeping)
    assert lines(receipt) == EVERYTHING
    assert receipt.skipped == ()
    assert await stored(database) == {
        **{name: [] for name in COLLECTIONS},
        RESOURCES: [f"{LAB}/DiagnosticReport/live", f"{LAB}/Patient/p9"],
    }
    assert {one.row.policy for one in receipt.rows if one.row.reason in ("retention", "with-resource")} == {
        1,
        0,
    }
    [again] = await sweep(sweeping)
    assert again.rows == ()
    assert (await sweeping.runs.verify())[1] is None


async def test_nothing_goes_before_its_time(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    await fill(database, store, clock)
    before = await stored(database)
    clock.now = NOW + 3 * DAY - timedelta(milliseconds=1)
    [receipt] = await sweep(sweeping)
    assert receipt.rows == ()
    assert await stored(database) == before


async def test_past_versions_go_by_their_own_age(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = NOW + 3 * DAY + SECOND
    [receipt] = await sweep(sweeping)
    assert lines(receipt) == {
        ("DiagnosticReport", "superseded"): 2,
        ("DiagnosticReport", "with-resource"): 1,
        ("DiagnosticReport", "deleted"): 1,
        ("Binary", "file"): 1,
    }
    assert await database[HISTORY].count_documents({}) == 0


async def test_without_a_policy_only_letters_go(database: Database, clock: Clock) -> None:
    await fill(database, mongo_store(database, clock=clock), clock)
    clock.now = NOW + 5_000 * DAY
    [receipt] = await sweep(sweeping_of(database, clock))
    assert lines(receipt) == {("", "dead-letter"): 4}


async def test_one_tenant_alone(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    for tenant in (LAB, OTHER):
        await fill(database, store, clock, tenant)
    clock.now = OVER
    [receipt] = await sweep(sweeping, OTHER)
    assert (receipt.tenant, lines(receipt)) == (str(OTHER), EVERYTHING)
    assert {one.row.tenant for one in receipt.rows} == {str(OTHER)}
    left = await stored(database, RESOURCES)
    assert {name.rpartition("/")[0].rpartition("/")[0] for name in left[RESOURCES]} == {str(LAB)}
    assert [one.tenant for one in await sweeping.runs.receipts(tenant=str(OTHER))] == [str(OTHER)]
    assert await sweeping.runs.receipts(tenant=str(LAB)) == []


HELD = [
    ([], 0),
    (["DiagnosticReport/r2"], 3),
    (["Observation/o2"], 2),
    (["Patient/p2"], 1),
    (["DiagnosticReport/r2", "DiagnosticReport/r3", "DiagnosticReport/s0"], 7),
]


@pytest.mark.parametrize(("held", "kept"), HELD, ids=[",".join(held) or "none" for held, _ in HELD])
async def test_a_hold_keeps_what_the_held_needs_and_nothing_serves_it(
    database: Database, store: MongoResources, clock: Clock, held: list[str], kept: int
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    holds = HeldIds(f"{LAB}/{name}" for name in held)
    sweeping = sweeping_of(database, clock, holds=holds)
    for _ in range(2):
        [receipt] = await sweep(sweeping)
        assert {one.row.reason for one in receipt.skipped} == ({"held"} if held else set())
        assert sum(one.count for one in receipt.skipped) == kept
        left = (await stored(database, RESOURCES))[RESOURCES]
        assert len(left) == kept
        assert {f"{LAB}/{name}" for name in held} <= set(left)
    for name in held:
        assert await store.get(LAB, ResourceKey(*name.split("/"))) is None
    holds.ids.clear()
    [released] = await sweep(sweeping)
    assert sum(one.count for one in released.rows) == kept


async def test_the_files_of_what_is_held_stay(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    [receipt] = await sweep(sweeping_of(database, clock, holds=HeldIds([f"{LAB}/DiagnosticReport/f2"])))
    assert lines(receipt)["Binary", "file"] == 1
    [file] = await database["attachments.files"].find({}).to_list(None)
    assert file["id"] == new_file(b"shared").id


async def test_past_versions_of_what_is_held_stay(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = NOW + 3 * DAY + SECOND
    holds = HeldIds([f"{LAB}/DiagnosticReport/r0", f"{LAB}/DiagnosticReport/f3/1"])
    [receipt] = await sweep(sweeping_of(database, clock, holds=holds))
    assert lines(receipt) == {("DiagnosticReport", "with-resource"): 1, ("DiagnosticReport", "deleted"): 1}
    assert [(one.row.reason, one.count) for one in receipt.skipped] == [("held", 2)]
    assert len((await stored(database, HISTORY))[HISTORY]) == 2


async def test_a_hold_on_the_tenant_keeps_everything(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    before = await stored(database)
    clock.now = OVER
    sweeping = sweeping_of(database, clock, holds=HeldIds(tenants=[LAB]))
    [receipt] = await sweep(sweeping)
    assert receipt.rows == ()
    assert await stored(database) == before


async def test_what_something_living_needs_stays(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    """However wrong its own end is: the sweep looks at what needs it."""
    await put(store, patient(), observation("o"), report(result=results("o")))
    late = {"expires_at": NOW}
    await database[RESOURCES].update_many({"type": {"$in": ["Patient", "Observation"]}}, {"$set": late})
    clock.now = NOW + DAY
    [receipt] = await sweep(sweeping)
    assert receipt.rows == ()
    assert {(one.row.type, one.row.reason) for one in receipt.skipped} == {
        ("Patient", "needed"),
        ("Observation", "needed"),
    }


async def test_what_comes_again_before_its_batch_stays(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    await put(store, report("r1"), report("r2"))
    clock.now = OVER
    [stage, *_] = sweeping.sweep.stages
    step = await stage.look(LAB, clock(), None, 10)
    assert len(step.going) == 2
    await put_one(store, report("r2", conclusion="back"))
    async with await database.client.start_session() as session, session.start_transaction():
        deleted = await stage.delete(LAB, clock(), step, session)
    assert sum(deleted.counts.values()) == 1
    assert (await stored(database, RESOURCES))[RESOURCES] == [f"{LAB}/DiagnosticReport/r2"]


async def test_more_versions_than_one_transaction_deletes(
    database: Database,
    store: MongoResources,
    sweeping: MongoSweeping,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overdue, "VERSIONS_MAX", 3)
    for number in range(9):
        await put(store, report("r1", conclusion=str(number)), report("r2", conclusion=str(number)))
    clock.now = OVER
    await database[HISTORY].update_many({}, {"$set": {"expires_at": NOW + 99 * DAY}})
    planned = await sweeping.plan([LAB])
    [receipt] = await sweep(sweeping)
    assert lines(receipt) == {
        ("DiagnosticReport", "retention"): 2,
        ("DiagnosticReport", "with-resource"): 16,
    }
    assert as_planned(receipt) == by_row(planned.deleted)


async def test_a_letter_that_came_again_stays_with_its_body(database: Database, clock: Clock) -> None:
    settings = StoreSettings(mongodb_database=database.name, dead_letter_days=9)
    letters = MongoDeadLetters(
        database, settings=settings, clock=clock, metrics=metrics(), policies=mongo_policies(database)
    )
    noise = bytes((n * n * 7919 >> 3) & 255 for n in range(1_500_000))
    await letters.keep(LAB, refused(clock, noise))
    await letters.keep(LAB, refused(clock, noise[::-1]))
    pieces = await database[DEAD_LETTER_BODIES].count_documents({})
    clock.now = NOW + 5 * DAY
    again = await letters.keep(LAB, refused(clock, noise))
    await database[DEAD_LETTER_BODIES].insert_one(
        {"_id": "lost/0", "letter": "never written", "tenant": str(LAB), "expires_at": NOW, "data": b""}
    )
    clock.now = NOW + 9 * DAY
    [receipt] = await sweep(sweeping_of(database, clock))
    assert lines(receipt) == {("", "dead-letter"): 1}
    assert (await stored(database, DEAD_LETTERS))[DEAD_LETTERS] == [again]
    assert await database[DEAD_LETTER_BODIES].count_documents({"letter": again}) == pieces // 2
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == pieces // 2
    clock.now = NOW + 14 * DAY
    await sweep(sweeping_of(database, clock))
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == 0


async def test_indexes_of_an_older_release_are_replaced(database: Database) -> None:
    for name in (DEAD_LETTERS, DEAD_LETTER_BODIES):
        await database[name].create_index([("expires_at", 1)], name="expired", expireAfterSeconds=0)
    await ensure_indexes(database)
    for name in (DEAD_LETTERS, DEAD_LETTER_BODIES):
        there = await database[name].index_information()
        assert "expired" not in there
        assert not any("expireAfterSeconds" in one for one in there.values())


async def test_notes_of_files_that_lead_to_nothing_are_forgotten(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    """Each run would read them again, for ever."""
    await fill(database, store, clock)
    clock.now = OVER
    holds = HeldIds([f"{LAB}/DiagnosticReport/f2"])
    sweeping = sweeping_of(database, clock, holds=holds)
    notes = [{"_id": f"{LAB}/{name}", "tenant": str(LAB), "id": name} for name in ("file-1", "file-2")]
    await database["forgotten_files"].insert_many(notes)
    planned = await sweeping.plan([LAB])
    [receipt] = await sweep(sweeping, LAB)
    assert as_planned(receipt) == by_row(planned.deleted)
    assert await database["forgotten_files"].count_documents({}) == 0
    assert await database["attachments.files"].count_documents({}) == 1
    holds.ids.clear()
    assert lines((await sweep(sweeping, LAB))[0])["Binary", "file"] == 1
    assert await database["attachments.files"].count_documents({}) == 0
    assert await database["forgotten_files"].count_documents({}) == 0


async def test_who_has_gone_is_named_by_nobody_as_the_same_person(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    """The next bearer of the number, and with it of the id, is not taken for who had it."""
    await put(store, patient())
    clock.now = NOW + DAY
    await put(store, patient("p2"))
    assert await store.relate(LAB, {"p1": frozenset(), "p2": frozenset()}) == {"p1", "p2"}
    clock.now = OVER
    await sweep(sweeping)
    [left] = await database[RESOURCES].find({"type": "Patient"}).to_list(None)
    assert (left["id"], left["identity"]["kin"], "kin=p1" in left["keys"]) == ("p2", [], False)
