"""Expired resources go, all of them, once and counted; those that are held or needed stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from store.dead_letters import Refused
from store.fhir.issues import Issue
from store.mongo.files import MongoAttachments
from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS, HISTORY, RESOURCES, ensure_indexes
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.mongo.retention import overdue
from store.mongo.retention.holds import MongoHolds
from store.resources.resource_keys import ResourceKey
from store.retention.holds import Hold, HoldKind
from store.retention.policy import Policy
from store.retention.runs import LeaseLost
from store.settings import StoreSettings
from tests.store.mongo.test_files import new_file, refers_to
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.runs import LEASE_SECONDS
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, metrics, mongo_policies, mongo_store, put, put_one
from tests.support.sweeping import COLLECTIONS, HeldIds, lines, retention_metrics, stored, sweep, sweeping_of

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.mongo.retention.sweeping import MongoSweeping
    from store.retention.receipts import Receipt
    from store.retention.sweep import Stage, SweepStep
    from store.tenancy import Tenant

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OVER = NOW + 10 * DAY + SECOND
"""Versions of one moment are a millisecond apart."""
POLICY = Policy(keep_days=10, superseded_days=3)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def store(database: Database, clock: Clock) -> MongoResources:
    for tenant in (LAB, OTHER):
        await mongo_policies(database).put(tenant, POLICY, instead_of=0)
    return mongo_store(database, clock=clock)


@pytest.fixture
def sweeping(database: Database, clock: Clock) -> MongoSweeping:
    return sweeping_of(database, clock)


def observation(id: str, of: str = "p1") -> dict[str, Any]:
    return resource("Observation", id, status="final", code=coded("1"), subject=refers(f"Patient/{of}"))


def results(*ids: str) -> list[dict[str, str]]:
    return [refers(f"Observation/{one}") for one in ids]


def refused(clock: Clock, body: bytes = b"{}") -> Refused:
    return Refused(
        operation="create",
        method="POST",
        path="Observation",
        headers={},
        origin="https://dod.example",
        client="lab",
        token_id="1234",
        scopes={},
        status=422,
        issues=(Issue("required", "an element is missing"),),
        body=body,
        at=clock(),
    )


async def fill(database: Database, store: MongoResources, clock: Clock, tenant: Tenant = LAB) -> None:
    """Resources of every kind: in ten days from now all of them have expired."""
    settings = StoreSettings(mongodb_database=database.name, dead_letter_days=9)
    files = MongoAttachments(database, settings=settings, clock=clock, metrics=metrics())
    letters = MongoDeadLetters(
        database, settings=settings, clock=clock, metrics=metrics(), policies=mongo_policies(database)
    )
    shared, own = new_file(b"shared"), new_file(b"own", number=1)
    await files.put(tenant, [shared, own])
    await put(store, patient(), patient("p2"), tenant=tenant)
    for number in range(5):
        await put(
            store,
            observation(f"o{number}"),
            report(f"r{number}", result=results(f"o{number}")),
            report(f"s{number}", "p2"),
            tenant=tenant,
        )
    await put(store, refers_to(shared, "f1"), refers_to(shared, "f2"), refers_to(own, "f3"), tenant=tenant)
    await put(store, report("r0", result=results("o0"), conclusion="second"), tenant=tenant)
    await put(store, report("f3", conclusion="without its file"), tenant=tenant)
    await store.delete(tenant, ResourceKey("DiagnosticReport", "r1"))
    for number in range(4):
        await letters.keep(tenant, refused(clock, b"%d" % number))
    await letters.drain()


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


# --- plan and run


def by_row(found: Any) -> dict[Any, int]:
    """Without the months."""
    counts: dict[Any, int] = {}
    for one, count in found.items():
        counts[one.row] = counts.get(one.row, 0) + count
    return counts


def as_planned(receipt: Receipt) -> dict[Any, int]:
    return {one.row: one.count for one in receipt.rows}


PLANNED = [
    (days, held)
    for days in (0, 3, 9, 10)
    for held in ([], ["DiagnosticReport/r2"], ["DiagnosticReport/f2", "DiagnosticReport/r0"], ["Patient/p2"])
]


@pytest.mark.parametrize(("days", "held"), PLANNED)
async def test_a_plan_says_what_the_run_does(
    database: Database, store: MongoResources, clock: Clock, days: int, held: list[str]
) -> None:
    await fill(database, store, clock)
    await fill(database, store, clock, OTHER)
    clock.now = NOW + days * DAY + SECOND
    sweeping = sweeping_of(database, clock, holds=HeldIds(f"{LAB}/{name}" for name in held))
    before = await stored(database)
    planned = await sweeping.plan([LAB, OTHER])
    assert await stored(database) == before
    [receipt] = await sweep(sweeping)
    assert as_planned(receipt) == by_row(planned.deleted)
    assert {one.row: one.count for one in receipt.skipped} == by_row(planned.skipped)
    assert {one.month for one in planned.deleted} <= {"2026-11"}


async def test_a_plan_counts_by_month_of_receipt(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    for month in (9, 10):
        for number in range(month - 7):
            clock.now = datetime(2026, month, 3 + number, tzinfo=UTC)
            await put(store, report(f"r{month}-{number}"))
    clock.now = OVER
    planned = await sweeping.plan([LAB])
    assert {one.month: count for one, count in planned.deleted.items()} == {"2026-09": 2, "2026-10": 3}


# --- crashes


class CrashError(Exception):
    """The process ends here."""


def crashing(sweeping: MongoSweeping, *, at: int, committed: bool) -> None:
    """Let the process end at its batch of this number: within the transaction, or just after."""
    batch, seen = sweeping.runs.batch, [0]

    async def crash(lease: Any, run: Any, work: Any) -> Any:
        seen[0] += 1
        if seen[0] != at:
            return await batch(lease, run, work)
        if committed:
            await batch(lease, run, work)
            raise CrashError

        async def broken(session: Any) -> Any:
            await work(session)
            raise CrashError

        return await batch(lease, run, broken)

    sweeping.runs.batch = crash  # type: ignore[method-assign]  # this is where the process ends


@pytest.mark.parametrize("committed", [False, True], ids=["within the batch", "after it"])
async def test_a_crash_at_any_batch_changes_nothing_of_the_result(
    database: Database, store: MongoResources, clock: Clock, committed: bool
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    held = HeldIds([f"{LAB}/DiagnosticReport/r3", f"{LAB}/DiagnosticReport/s4"])
    planned = await sweeping_of(database, clock, holds=held).plan([LAB, OTHER])
    crashes = 0
    while True:
        replica = sweeping_of(database, clock, holds=held)
        crashing(replica, at=2, committed=committed)  # Each gets through one batch, and dies at its second.
        try:
            [receipt] = await sweep(replica)
        except CrashError:
            crashes += 1
        else:
            break
    assert crashes >= 5
    assert receipt.takeovers == crashes
    assert as_planned(receipt) == by_row(planned.deleted)
    assert {one.row: one.count for one in receipt.skipped} == by_row(planned.skipped)
    assert (await sweeping_of(database, clock, holds=held).plan([LAB])).deleted == {}
    assert [one.number for one in await replica.runs.receipts()] == [1]


async def test_a_frozen_replica_that_wakes_up_does_nothing_more(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    frozen, *others = (sweeping_of(database, clock) for _ in range(3))
    planned = await frozen.plan([LAB])
    stage = frozen.sweep.stages[0]
    delete = stage.delete
    receipts: list[Receipt] = []

    async def freeze(*given: Any) -> Any:
        done = await delete(*given)
        if not receipts:
            clock.move(seconds=2 * LEASE_SECONDS)
            receipts.extend(await sweep(others[0]))
            receipts.extend(await sweep(others[1]))
        return done

    stage.delete = freeze  # type: ignore[method-assign,assignment]  # here it stands still, its batch not committed
    with pytest.raises(LeaseLost):
        await sweep(frozen)
    assert as_planned(receipts[0]) == by_row(planned.deleted)
    assert receipts[1].rows == ()
    assert await frozen.sweep.stages[0].look(LAB, clock(), None, 1) is not None
    assert [one.number for one in await frozen.runs.receipts()] == [1, 2]
    assert (await frozen.runs.verify())[1] is None


async def test_only_one_sweeps_at_a_time(database: Database, store: MongoResources, clock: Clock) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    first, second = sweeping_of(database, clock), sweeping_of(database, clock)
    lease = await first.leases.take("sweep")
    assert lease is not None
    assert await second.run(pace=second.pace(budget=False), metrics=retention_metrics()) is None
    holding = await second.holding()
    assert holding is not None
    assert holding.holder == lease.holder


async def test_a_run_whose_time_is_up_ends_and_the_next_does_the_rest(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    sweeping = sweeping_of(database, clock, retention_budget_seconds=30)
    planned = await sweeping.plan([LAB])
    batch = sweeping.runs.batch

    async def slow(*given: Any) -> Any:
        clock.move(seconds=20)
        return await batch(*given)

    sweeping.runs.batch = slow  # type: ignore[method-assign,assignment]  # each takes a while
    receipts: list[Receipt] = []
    while not receipts or not receipts[-1].complete:
        done = await sweeping.run(pace=sweeping.pace(budget=True), metrics=retention_metrics())
        assert done is not None
        receipts += done
    assert len(receipts) > 3
    total: dict[Any, int] = {}
    for receipt in receipts:
        for row, count in as_planned(receipt).items():
            total[row] = total.get(row, 0) + count
    assert total == by_row(planned.deleted)


async def test_a_hold_placed_while_a_batch_is_on_its_way_holds(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    holds = MongoHolds(database, settings=StoreSettings(), metrics=metrics())
    sweeping = sweeping_of(database, clock, holds=holds)
    await put(store, *(report(f"r{number}") for number in range(5)))
    clock.now = OVER
    placed: list[str] = []

    class Late:
        """The first stage; after its second look somebody places a hold on what it found."""

        def __init__(self, stage: Stage) -> None:
            self.name, self.count, self.delete = stage.name, stage.count, stage.delete
            self._stage, self._looks = stage, 0

        async def look(self, tenant: Tenant, as_of: datetime, after: Any, limit: int) -> SweepStep:
            step = await self._stage.look(tenant, as_of, after, limit)
            self._looks += 1
            if self._looks == 2:
                subject = f"DiagnosticReport/{step.going[0]['id']}"
                hold = Hold(str(uuid4()), LAB, HoldKind.RESOURCE, subject, "a test", clock(), "tests")
                await holds.add(hold)
                placed.append(subject)
            return step

    first, *others = sweeping.sweep.stages
    sweeping.sweep = replace(sweeping.sweep, stages=(Late(first), *others))
    [receipt] = await sweep(sweeping, LAB)
    left = await database[RESOURCES].find({"tenant": str(LAB)}).to_list(None)
    assert [f"{one['type']}/{one['id']}" for one in left] == placed
    assert lines(receipt) == {("DiagnosticReport", "retention"): 4}
    assert [one.count for one in receipt.skipped] == [1]
