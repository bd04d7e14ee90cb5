"""Erased resources do not come back, by whatever name, and what only resembles them is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import ERASURES, RESOURCES, RETENTION
from store.mongo.resources.commit_attempt import CommitAttempt
from store.mongo.resources.write_decision import RACED
from store.mongo.rules.erased_names import ErasedNames
from store.resources.answers import Remembered, Shown, Slot
from store.resources.resource_keys import ResourceKey
from store.retention.erased_names import KEY, PATIENT, Name
from store.settings import StoreSettings
from tests.support.fhir import MRN, Json, identified, patient, refers, report, resource
from tests.support.pauses import pausing
from tests.support.service import Clock
from tests.support.store import LAB, OTHER, metrics, mongo_store, prepared, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

ANNA = identified(MRN, "A-1")
ERASED = (Name(KEY, "Patient/a"), Name(PATIENT, f"{MRN}|A-1"), Name(KEY, "DiagnosticReport/ra"))
GROUP = "digest of Anna"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def erasures(database: Database, clock: Clock) -> ErasedNames:
    settings = StoreSettings(policy_cache_seconds=0)
    made = ErasedNames(database, settings=settings, clock=clock, metrics=metrics())
    until = clock() + timedelta(days=100)
    await made.place(LAB, ERASED, group=GROUP, now=clock(), until=until)
    return made


def observation(id: str, **elements: Any) -> Json:
    return resource("Observation", id, status="final", code={"text": "x"}, **elements)


BACK = {
    "the patient": patient("a"),
    "the patient under another id": patient("new", ANNA),
    "the patient among other identifiers": patient("new", identified(MRN, "B-2"), ANNA),
    "a report of the patient": report("new", "a"),
    "a report by identifier": report("new", None, subject={"identifier": ANNA}),
    "a report of another, with the identifier": report(
        "new", None, subject={**refers("Patient/b"), "identifier": ANNA}
    ),
    "a report of a contained patient": report(
        "new", None, subject=refers("#p"), contained=[patient("p", ANNA)]
    ),
    "the report, whoever it is about": report("ra", "b"),
    "what tells of the report": resource("Provenance", "new", target=[refers("DiagnosticReport/ra")]),
    "what tells of the patient": resource("Provenance", "new", target=[refers("Patient/a")]),
    "a message's head": resource("MessageHeader", "new", focus=[refers("DiagnosticReport/ra/_history/1")]),
    "a type without an index": resource("Coverage", "new", beneficiary=refers("Patient/a")),
    "a type without an index, by our own URL": resource(
        "Coverage", "new", beneficiary=refers("https://dod.example/fhir/R4/lab/Production/Patient/a")
    ),
}  # fmt: skip
ANOTHERS = {
    "another patient": patient("b", identified(MRN, "B-2")),
    "the value under another system": patient("b", identified("urn:example:other", "A-1")),
    "another case": patient("b", identified(MRN, "a-1")),
    "a patient who is linked": patient("b", link=[{"other": refers("Patient/a"), "type": "seealso"}]),
    "another's report": report("rb", "b"),
    "another's, which refers to what is gone": observation(
        "new", subject=refers("Patient/b"), derivedFrom=[refers("DiagnosticReport/ra")]
    ),
    "a practitioner": resource("Practitioner", "d", identifier=[ANNA]),
    "an id that begins the same": patient("a1"),
}


@pytest.mark.parametrize("sent", BACK.values(), ids=BACK.keys())
async def test_nothing_of_it_is_stored_again(database: Database, erasures: ErasedNames, sent: Json) -> None:
    store = mongo_store(database)
    with pytest.raises(ServiceError) as refused:
        await put(store, sent)
    assert refused.value.category is Category.GONE
    assert [issue.code for issue in refused.value.issues] == ["deleted"]
    with pytest.raises(ServiceError):
        await store.atomically(lambda unit: unit.write_many(LAB, [prepared(sent)]))
    with pytest.raises(ServiceError):
        await store.admit(LAB, [prepared(patient("b")), prepared(sent)])
    assert await database[RESOURCES].count_documents({}) == 0


@pytest.mark.parametrize("sent", ANOTHERS.values(), ids=ANOTHERS.keys())
async def test_what_is_anothers_is_stored(database: Database, erasures: ErasedNames, sent: Json) -> None:
    await put(mongo_store(database), sent)
    assert await database[RESOURCES].count_documents({}) == 1


async def test_of_a_group_only_what_was_erased_is_refused(database: Database, erasures: ErasedNames) -> None:
    store = mongo_store(database)
    with pytest.raises(ServiceError):
        await put(store, patient("b"), report("new", "a"), report("rb", "b"))
    assert await database[RESOURCES].count_documents({}) == 2
    assert await store.delete(LAB, ResourceKey("Patient", "a")) is None


async def test_what_loses_a_race_meanwhile_is_refused_as_well(database: Database, clock: Clock) -> None:
    store = mongo_store(database)
    erasures = ErasedNames(
        database, settings=StoreSettings(policy_cache_seconds=0), clock=clock, metrics=metrics()
    )
    lost: list[CommitAttempt] = []

    def losing(attempt: CommitAttempt) -> dict[str, Any]:
        lost.append(attempt)
        return dict.fromkeys((write.id for write in attempt.writes), RACED)

    async def erasing(_: float) -> None:
        await erasures.place(LAB, ERASED, group=GROUP, now=clock(), until=clock() + timedelta(days=100))

    with (
        patch.object(CommitAttempt, "write_together"),
        patch.object(CommitAttempt, "results", autospec=True, side_effect=losing),
        pausing("store.mongo.resources.writing", erasing),
        pytest.raises(ServiceError) as refused,
    ):
        await put(store, patient("a"))
    assert refused.value.category is Category.GONE
    assert len(lost) == 2  # The second one sleeps before the third.


async def test_other_tenants_are_not_concerned(database: Database, erasures: ErasedNames) -> None:
    await put(mongo_store(database), patient("a", ANNA), tenant=OTHER)
    assert await database[RESOURCES].count_documents({"tenant": str(OTHER)}) == 1


async def test_it_may_come_again_when_its_time_is_over(
    database: Database, erasures: ErasedNames, clock: Clock
) -> None:
    store = mongo_store(database, clock=clock)
    clock.move(days=99)
    with pytest.raises(ServiceError):
        await put(store, patient("a"))
    clock.move(days=1)
    await put(store, patient("a"))


async def test_it_may_come_again_when_it_is_lifted(
    database: Database, erasures: ErasedNames, clock: Clock
) -> None:
    other = [Name(PATIENT, f"{MRN}|B-2"), Name(KEY, "DiagnosticReport/ra")]
    await erasures.place(LAB, other, group="digest of Bert", now=clock(), until=clock() + timedelta(days=1))
    assert await erasures.lift(LAB, Name(PATIENT, f"{MRN}|A-1")) == 2
    assert await erasures.lift(LAB, Name(PATIENT, f"{MRN}|A-1")) == 0
    store = mongo_store(database)
    await put(store, patient("a", ANNA))
    for still in (patient("b", identified(MRN, "B-2")), report("ra", "a")):
        with pytest.raises(ServiceError):
            await put(store, still)


async def test_tombstones_tell_nothing(database: Database, erasures: ErasedNames) -> None:
    documents = await database[ERASURES].find({}).to_list(None)
    assert len(documents) == len(ERASED)
    said = repr(documents) + repr(await database[RETENTION].find({}).to_list(None))
    assert all(part not in said for part in ("A-1", MRN, "Patient", "ra'"))
    assert len({await erasures.digest_of(tenant, name) for name in ERASED for tenant in (LAB, OTHER)}) == 6


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"body": b'{"entry":[{"response":{"location":"DiagnosticReport/ra/_history/1"}}]}'}, False),
        ({"headers": {"Location": "http://x/fhir/R4/lab/Production/Patient/a/_history/1"}}, False),
        ({"shown": (Shown(0, ResourceKey("DiagnosticReport", "ra"), 1),)}, False),
        ({"body": b'{"entry":[{"response":{"location":"Patient/b/_history/1"}}]}'}, True),
    ],
)
async def test_an_answer_that_tells_of_somebody_erased_meanwhile_is_not_remembered(
    database: Database, erasures: ErasedNames, clock: Clock, told: dict[str, Any], kept: bool
) -> None:
    """A batch may take longer than the erasure of whom it began with."""
    store = mongo_store(database, clock=clock)
    plain = {"body": b"", "headers": {}, "shown": ()}
    answer = Remembered(b"asked", 200, until=clock() + timedelta(days=1), **{**plain, **told})
    await store.remember(LAB, Slot("tests", "key", b"asked"), answer)
    assert (await store.recall(LAB, Slot("tests", "key", b"asked")) is not None) is kept
