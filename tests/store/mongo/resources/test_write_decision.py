"""The effect of a write on the stored resource: the decision as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from store.errors import Category, ServiceError
from store.mongo.documents import to_document, to_tombstone
from store.mongo.indexes import RESOURCES
from store.mongo.resources.late_versions import LateWrite, corrections
from store.mongo.resources.write_decision import (
    Decision,
    Write,
    WriteContext,
    decision_of,
    failure_of,
    held,
    write_of,
)
from store.resources.resource_keys import ResourceKey
from store.resources.versions import ANY_VERSION, Deletion, Gone, Outcome, Prepared, PutResult
from store.retention.policy import UNLIMITED, TenantRetention
from tests.support.fhir import patient, report
from tests.support.store import LAB, NOW, prepared

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

KEY = ResourceKey("DiagnosticReport", "r1")
CONTEXT = WriteContext(NOW, {str(LAB): TenantRetention()})
BEFORE = NOW - timedelta(hours=1)
EARLY, LATER = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"

Stored = dict[str, Any] | None


def stored(status: str = "final", **fields: Any) -> dict[str, Any]:
    """A current document, version 3."""
    return {**to_document(LAB, prepared(report("r1", status=status)), 3, BEFORE), **fields}


def tombstone(**fields: Any) -> dict[str, Any]:
    return {**to_tombstone(LAB, KEY, 4, BEFORE, NOW + timedelta(days=9)), **fields}


def put(status: str = "final", **conditions: Any) -> Write:
    return write_of(LAB, prepared(report("r1", status=status), **conditions))


def delete(**conditions: Any) -> Write:
    return write_of(LAB, Deletion(KEY, **conditions))


class Case(NamedTuple):
    write: Write
    current: Stored
    result: Outcome | Category | type[Gone] | None
    version: int | None = None
    """Version of the result."""
    writes: bool = False
    """A document takes the place of what is stored."""
    touches: tuple[str, ...] = ()
    late: bool = False


EXPIRED: dict[str, Any] = {"expires_at": NOW - timedelta(seconds=1)}
CASES = {
    "nothing there": Case(put(), None, Outcome.CREATED, 1, writes=True),
    "other content": Case(put("amended"), stored(), Outcome.REPLACED, 4, writes=True),
    "the same content": Case(put(), stored(), Outcome.UNCHANGED, 3),
    "the same content from a later time": Case(
        put(sourced=LATER), stored(sourced=EARLY), Outcome.UNCHANGED, 3, touches=("sourced",)
    ),
    "the same content of a companion, by itself": Case(
        put(), stored(companion=True), Outcome.UNCHANGED, 3, touches=("companion",)
    ),
    "in place of a deleted one": Case(put(), tombstone(), Outcome.CREATED, 5, writes=True),
    "in place of an expired one": Case(put(), stored(**EXPIRED), Outcome.CREATED, 4, writes=True),
    "numbers go on behind a late version": Case(
        put("amended"),
        stored(last={"version": 7, "lo": 0}),
        Outcome.REPLACED,
        8,
        writes=True,
    ),
    "only absent, and there": Case(put("amended", only_absent=True), stored(), Outcome.EXISTS, 3),
    "only absent, and deleted": Case(put(only_absent=True), tombstone(), Outcome.CREATED, 5, writes=True),
    "only once, and deleted": Case(put(only_once=True), tombstone(), Outcome.EXISTS, 4),
    "only once, and expired": Case(put(only_once=True), stored(**EXPIRED), Outcome.EXISTS, 3),
    "this version": Case(put("amended", only_version=3), stored(), Outcome.REPLACED, 4, writes=True),
    "another version": Case(put("amended", only_version=2), stored(), Category.PRECONDITION),
    "any version": Case(put("amended", only_version=ANY_VERSION), stored(), Outcome.REPLACED, 4, writes=True),
    "any version of nothing": Case(put(only_version=ANY_VERSION), None, Category.PRECONDITION),
    "any version of a deleted one": Case(put(only_version=ANY_VERSION), tombstone(), Category.PRECONDITION),
    "labels left out": Case(
        put("amended", keeps_labels=True), stored(index={"_tag": ["a|b"]}), Category.CONFLICT
    ),
    "older by the source": Case(put("amended", sourced=EARLY), stored(sourced=LATER), None, late=True),
    "as old by the source": Case(put("amended", sourced=EARLY), stored(sourced=EARLY), None, late=True),
    "newer by the source": Case(
        put("amended", sourced=LATER), stored(sourced=EARLY), Outcome.REPLACED, 4, writes=True
    ),
    "without a time beside one with": Case(
        put("amended"), stored(sourced=LATER), Outcome.REPLACED, 4, writes=True
    ),
    "older than a deletion by its source": Case(
        put(sourced=EARLY), tombstone(sourced=LATER), None, late=True
    ),
    "as old as a deletion": Case(
        put(sourced=EARLY), tombstone(sourced=EARLY), Outcome.CREATED, 5, writes=True
    ),
    "as old as the end of a retired companion": Case(
        put(sourced=EARLY), tombstone(sourced=EARLY, companion=True), None, late=True
    ),
    "a companion comes back in time": Case(
        put(revives=5), tombstone(companion=True), Outcome.CREATED, 5, writes=True
    ),
    "a companion comes back too late": Case(put(revives=4), tombstone(companion=True), None),
    "a companion comes back that was never away": Case(put(revives=4), stored(), Outcome.UNCHANGED, 3),
    "delete nothing": Case(delete(), None, None),
    "delete": Case(delete(), stored(), Gone, 4, writes=True),
    "delete again": Case(delete(), tombstone(), Gone, 4),
    "delete an expired one": Case(delete(), stored(**EXPIRED), Gone, 3),
    "delete another version": Case(delete(only_version=2), stored(), Category.PRECONDITION),
    "delete what is newer by its source": Case(delete(sourced=EARLY), stored(sourced=LATER), None),
    "delete what is older by its source": Case(
        delete(sourced=LATER), stored(sourced=EARLY), Gone, 4, writes=True
    ),
    "retire a companion": Case(
        delete(only_version=3)._replace(retiring=LATER), stored(companion=True), Gone, 4, writes=True
    ),
    "retire what is none": Case(delete(only_version=3)._replace(retiring=LATER), stored(), None),
    "retire another version": Case(
        delete(only_version=2)._replace(retiring=LATER), stored(companion=True), None
    ),
}


def told(decision: Decision) -> tuple[object, int | None]:
    match decision.result:
        case PutResult(outcome, found):
            return outcome, found.version
        case Gone(_, version):
            return Gone, version
        case ServiceError() as error:
            return error.category, None
        case None:
            return None, None


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_write_means(case: Case) -> None:
    decision = decision_of(case.write, case.current, CONTEXT)
    assert told(decision) == (case.result, case.version)
    assert (decision.document is not None, decision.late) == (case.writes, case.late)
    assert tuple(decision.touch or ()) == case.touches
    if case.writes and case.current is not None:
        assert decision.replaces is not None
        assert decision.replaces["version"] == case.current["version"]
        assert decision.document is not None
        assert decision.document["updated"]["lo"] > case.current["updated"]["lo"]


def test_of_equal_times_the_arrival_decides_once_it_is_known_to_be_new() -> None:
    write, current = put("amended", sourced=EARLY), stored(sourced=EARLY)
    assert decision_of(write, current, CONTEXT).late
    assert told(decision_of(write, current, CONTEXT, arrival=True)) == (Outcome.REPLACED, 4)


def test_the_time_of_a_source_never_goes_back() -> None:
    decision = decision_of(put("amended"), stored(sourced=LATER), CONTEXT)
    assert decision.document is not None
    assert decision.document["sourced"] == LATER


def test_a_retired_companion_says_so_and_is_found_by_its_identity() -> None:
    identity = {"numbers": ["1"], "keys": ["number=1"]}
    write = delete(only_version=3)._replace(retiring=LATER)
    decision = decision_of(write, stored(companion=True, identity=identity), CONTEXT)
    assert decision.document is not None
    assert (decision.document["companion"], decision.document["keys"]) == (True, ["number=1"])


def test_what_is_too_large_fails_by_itself() -> None:
    large = prepared(report("r1"))
    body = large._replace(body=large.body._replace(tail=b" " * 17_000_000))
    assert told(decision_of(write_of(LAB, body), None, CONTEXT)) == (Category.TOO_LARGE, None)


@pytest.mark.parametrize(("companion", "touched"), [(True, True), (False, False)])
def test_an_unchanged_companion_is_written_in_a_transaction(*, companion: bool, touched: bool) -> None:
    current = stored(companion=True) if companion else stored()
    mine: Prepared = prepared(report("r1"), companion=companion)
    decision = held(decision_of(write_of(LAB, mine), current, CONTEXT), current, NOW)
    assert ("held_at" in (decision.touch or {})) is touched


def test_an_unchanged_patient_is_written_in_a_transaction() -> None:
    mine = prepared(patient("p1"))
    decision = held(decision_of(write_of(LAB, mine), stored(digest=mine.digest), CONTEXT), stored(), NOW)
    assert decision.document is None
    assert decision.touch == {"held_at": NOW}


FIRST_NEWS: list[tuple[dict[str, Any], ...]] = [
    ({"mended_since": EARLY, "moved_here": True}, {"since": LATER, "mended_since": EARLY}),
    ({"since": EARLY, "mended_since": LATER}, {"since": LATER, "mended_since": EARLY}),
    ({"since": LATER, "corrected": LATER}, {"mended_since": EARLY, "corrected": EARLY}),
]


@pytest.mark.parametrize("told", FIRST_NEWS, ids=["moved", "each earlier in one", "told by one alone"])
async def test_first_news_that_come_late_are_the_same_in_any_order(
    database: Database, told: tuple[dict[str, Any], ...]
) -> None:
    """Each is noted by who found the report as it was before the other."""
    late = [
        LateWrite(LAB, prepared(report("r1"), identity=one), {"_id": str(turn)}, UNLIMITED)
        for turn, ordered in enumerate((told, told[::-1]))
        for one in ordered
    ]
    await database[RESOURCES].insert_many([{"_id": "0"}, {"_id": "1"}])
    await database[RESOURCES].bulk_write(corrections(late))
    first, second = await database[RESOURCES].find({}, {"identity": 1}).to_list(None)
    assert first["identity"] == second["identity"]


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (11000, Category.CONFLICT),
        (11602, Category.UNAVAILABLE),
        (10107, Category.UNAVAILABLE),
        (50, Category.TIMEOUT),
        (121, Category.FAULT),
    ],
    ids=["another was faster", "stepping down", "no primary", "too slow", "refused"],
)
def test_a_write_that_a_bulk_did_not_do(code: int, category: Category) -> None:
    assert failure_of({"code": code, "errmsg": "sentinel-7391"}).category is category
