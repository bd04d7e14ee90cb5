"""The erasure of a patient beside holds, after a crash, and lifted again."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from store.errors import Category, ServiceError
from store.mongo.erasure import batches as erasure_run
from store.mongo.erasure import erase
from store.mongo.retention.lease import Leases
from store.mongo.retention.runs import Runs
from store.mongo.rules.erased_names import ErasedNames
from store.retention.holds import Hold, HoldKind
from store.retention.subjects import read_subject
from tests.api.interactions.purge.purged import (
    ANNA,
    ANNAS,
    ANNAS_PDF,
    BERTS,
    World,
    filled,
    observation,
    opened_world,
    verified,
)
from tests.support.fhir import MRN, identified, message, patient, refers, report
from tests.support.pauses import pausing

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Client, Database


def hold(world: World, kind: HoldKind, subject: str) -> Hold:
    now = world.service.clock()
    return Hold("h1", world.service.tenant, kind, subject, "litigation", now, "tests")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (HoldKind.PATIENT, f"{MRN}|ANNA-4711"),
        (HoldKind.PATIENT, "Patient/anna"),
        (HoldKind.TENANT, ""),
    ],
)
async def test_who_is_held_stays_and_goes_on(world: World, kind: HoldKind, subject: str) -> None:
    await world.service.load(*BERTS, *ANNAS)
    await world.privacy.holds.add(hold(world, kind, subject))
    before = await world.documents()
    erased = await world.erase()
    assert erased.receipt.deleted == 0
    assert sum(one.count for one in erased.receipt.skipped) == len(ANNAS)
    assert await world.documents() == before
    assert (await world.service.put(report("new", "anna"))).status == 201
    await world.privacy.holds.release("h1", now=world.service.clock(), by="tests", reason="settled")
    assert not (await world.erase()).receipt.skipped
    assert await world.left() == set()


async def test_a_held_report_keeps_what_it_needs(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS)
    before = await world.documents()
    await world.privacy.holds.add(hold(world, HoldKind.RESOURCE, "DiagnosticReport/ra"))
    erased = await world.erase()
    kept = {"/".join(name.split("/")[2:]) for name in await world.documents()}
    annas = {"DiagnosticReport/ra", "Patient/anna", "Observation/oa", "Observation/free", "Specimen/sa"}
    assert kept == annas | {f"{one['resourceType']}/{one['id']}" for one in BERTS}
    assert {(one.row.type, one.count) for one in erased.receipt.skipped} == {
        ("DiagnosticReport", 1),
        ("Patient", 1),
        ("Observation", 2),
        ("Specimen", 1),
    }
    after = await world.documents()
    assert all(after[name] == before[name] for name in after)
    url = (await world.service.get("DiagnosticReport/ra")).body["presentedForm"][0]["url"]
    assert (await world.service.get(url)).text == ANNAS_PDF
    await world.privacy.holds.release("h1", now=world.service.clock(), by="tests", reason="settled")
    assert not (await world.erase()).receipt.skipped
    assert await world.left() == set()


@pytest.mark.parametrize(
    ("kind", "subject", "kept"),
    [
        (HoldKind.PATIENT, f"{MRN}|ANNA-4711", len(ANNAS)),
        (HoldKind.TENANT, "", len(ANNAS)),
        (HoldKind.RESOURCE, "DiagnosticReport/ra", 5),
    ],
)
async def test_who_is_held_meanwhile_stays(world: World, kind: HoldKind, subject: str, kept: int) -> None:
    await world.service.load(*BERTS, *ANNAS)
    before = await world.documents()

    async def holding(_: float) -> None:
        if not await world.privacy.holds.listed(None):
            await world.privacy.holds.add(hold(world, kind, subject))

    with pausing("store.mongo.erasure.batches", holding):
        erased = await world.erase()
    assert sum(one.count for one in erased.receipt.skipped) == kept
    after = await world.documents()
    assert len(after) == len(BERTS) + kept
    assert all(after[name] == before[name] for name in after)


async def test_a_tenant_that_is_held_meanwhile_is_not_emptied(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS)
    before = await world.documents()
    tenant = world.service.tenant

    async def holding(_: float) -> None:
        if not await world.privacy.holds.listed(None):
            await world.privacy.holds.add(hold(world, HoldKind.TENANT, ""))

    with (
        pausing("store.mongo.erasure.offboarding", holding),
        pytest.raises(ServiceError) as refused,
    ):
        await world.privacy.offboarding.close(tenant, reason="asked", by="tests", wait_seconds=0)
    assert refused.value.category is Category.CONFLICT
    assert await world.documents() == before
    assert [one.id for one in await world.privacy.holds.listed(tenant)] == ["h1"]
    await world.privacy.holds.release("h1", now=world.service.clock(), by="tests", reason="settled")
    await world.privacy.offboarding.close(tenant, reason="asked", by="tests", wait_seconds=0)
    assert await world.documents() == {}


class Killed(BaseException):
    """As a kill is: nothing is tidied up on its way."""


@pytest.fixture(scope="module")
async def undisturbed(mongodb: str, mongo_client: Client) -> int:
    """Count of an erasure that nobody broke off."""
    database = mongo_client[f"dod_{uuid4().hex}"]
    async with opened_world(mongodb, database) as world:
        await filled(world)
        found = (await world.erase()).receipt.deleted
    await mongo_client.drop_database(database.name)
    return found


@pytest.mark.parametrize("at", [1, 2, 5, 6, 7, 8, 9, 10, 11, 15, 21, 25])
async def test_killed_between_two_batches_it_goes_on(
    world: World,
    undisturbed: int,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[..., None],
    at: int,
) -> None:
    await filled(world)
    monkeypatch.setattr(erasure_run, "BATCH", 1)
    batches = 0
    whole = Runs.batch

    async def dying(self: Runs, *work: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == at:
            raise Killed
        return await whole(self, *work)

    async def lost(*_: object, **__: object) -> None:
        """A process that is gone gives nothing back."""

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "batch", dying)
        patched.setattr(Leases, "release", lost)
        with pytest.raises(Killed):
            await world.erase()
    with pytest.raises(ServiceError) as refused:
        await world.erase()
    assert refused.value.category is Category.CONFLICT
    later(minutes=2)
    erased = await world.erase()
    assert await world.left() == set()
    assert await verified(world) == erased.receipt.number == 1
    assert erased.receipt.takeovers == 1
    assert erased.receipt.deleted == undisturbed


async def test_lifted_it_comes_again(world: World) -> None:
    await filled(world)
    await world.erase()
    subject = read_subject(f"{MRN}|ANNA-4711")
    await world.privacy.erasing.lift(world.service.tenant, subject, reason="came back", by="tests")
    await world.service.load(*ANNAS)
    with pytest.raises(ServiceError) as refused:
        await world.privacy.erasing.lift(world.service.tenant, subject, reason="came back", by="tests")
    assert refused.value.category is Category.NOT_FOUND


async def test_a_retired_observation_leaves_no_number_behind(world: World) -> None:
    number = identified("urn:example:lab", "RETIRED-4711")
    sent = observation("o-r", identifier=[number], subject=refers("Patient/src"))
    filler = [identified("urn:example:filler", "F-R")]
    told = report("src-r", "src", identifier=filler, result=[refers("Observation/o-r")])
    first = message(patient("src", ANNA), sent, told)
    for minute, body in (
        (1, first),
        (2, message(patient("src", ANNA), report("src-r", "src", identifier=filler))),
    ):
        stamped = {**body, "timestamp": f"2026-11-20T10:{minute:02}:00Z"}
        assert (await world.service.request("POST", "$process-message", stamped)).status == 200
    kept = (
        await world.database["resources"]
        .find({"identity.numbers": {"$elemMatch": {"$elemMatch": {"$eq": "RETIRED-4711"}}}})
        .to_list(None)
    )
    assert [one.get("deleted") for one in kept] == [True]
    await world.erase()
    for name in await world.database.list_collection_names():
        assert "RETIRED-4711" not in str(await world.database[name].find().to_list(None)), name


async def test_a_push_that_was_looked_at_before_and_is_stored_late_is_found(
    mongodb: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the erased names and the disk lie some seconds when the disk is slow."""
    looked_at, stored = asyncio.Event(), asyncio.Event()
    refuse = ErasedNames.refuse

    async def slowly(self: ErasedNames, writes: Any) -> Any:
        refused = await refuse(self, writes)
        if any(write.key.id == "late" for write in writes):
            looked_at.set()
            await stored.wait()
        return refused

    async with opened_world(mongodb, database, erasure_wait_seconds=60) as world:
        await filled(world)
        monkeypatch.setattr(ErasedNames, "refuse", slowly)
        late = report("late", "anna", conclusion="sonographically unremarkable")
        push = asyncio.ensure_future(world.service.put(late))
        await looked_at.wait()

        async def until(_: float, heartbeat: Any) -> None:
            await heartbeat()
            stored.set()
            assert (await push).status == 201
            monkeypatch.setattr(erase, "monotonic", lambda: monotonic() + 100)

        monkeypatch.setattr(erase, "_until", until)
        await world.erase()
        assert await world.left() == set()
