"""Reads of one moment on a real MongoDB: what a view shows, and what happens when the moment is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.search.snapshot import MomentForgottenError, View
from store.search.criteria import Moment, Total
from store.search.planning.plan import plan
from tests.support.fhir import identified, patient, report
from tests.support.store import LAB, NOW, asked, ids, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.search.planning.plan import FindPlan

LONG_AGO = Moment(1, 1)
NOT_YET = Moment(2**31, 1)
FIELDS = {"_id": 0, "id": 1}
ALL = "_sort=_id"


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


def planned(text: str = ALL, count: int = 100) -> FindPlan:
    return plan(str(LAB), asked(text, count=count), resolved={}, now=NOW)


def shown(view: View, text: str = ALL) -> list[str]:
    return [one["id"] for one in view.find(planned(text), FIELDS)]


async def test_a_view_goes_on_seeing_the_moment_of_its_first_read(
    store: MongoResources, database: Database
) -> None:
    await put(store, report("r1"))
    view = View(database.delegate, None)
    assert view.moment is None
    assert shown(view) == ["r1"]
    moment = view.moment
    await put(store, report("r2"))
    assert shown(view) == ["r1"]
    assert view.count(planned(), at_most=None) == 1
    assert view.moment == moment
    assert shown(View(database.delegate, moment)) == ["r1"]
    assert shown(View(database.delegate, None)) == ["r1", "r2"]


async def test_the_first_read_may_be_any_command(store: MongoResources, database: Database) -> None:
    await put(store, report("r1"))
    for text in (ALL, "_sort=status"):
        counting = View(database.delegate, None)
        assert counting.count(planned(text), at_most=None) == 1
        assert counting.moment is not None


async def test_the_latest_is_of_no_moment(store: MongoResources, database: Database) -> None:
    view = View(database.delegate, None, latest=True)
    assert shown(view) == []
    await put(store, report("r1"))
    assert shown(view) == ["r1"]
    assert view.moment is None


@pytest.mark.parametrize("moment", [LONG_AGO, NOT_YET], ids=["long ago", "not yet"])
@pytest.mark.parametrize("text", [ALL, "_sort=status"])
async def test_a_moment_that_the_database_cannot_show(
    store: MongoResources, database: Database, moment: Moment, text: str
) -> None:
    await put(store, report("r1"))
    with pytest.raises(MomentForgottenError):
        shown(View(database.delegate, moment), text)
    with pytest.raises(MomentForgottenError):
        View(database.delegate, moment).count(planned(), at_most=5)


@pytest.mark.parametrize("moment", [LONG_AGO, NOT_YET], ids=["long ago", "not yet"])
@pytest.mark.parametrize(
    "text",
    [
        "patient=p1&_sort=_id",
        "patient=p1&_sort=status,_id",
        "patient.identifier=m1&_sort=_id",
        "patient.birthdate=1980&_sort=_id",
        "patient=p1&_sort=_id&_include=DiagnosticReport:patient",
    ],
)
async def test_pages_of_a_forgotten_moment_go_on_through_what_is_there_now(
    store: MongoResources, text: str, moment: Moment
) -> None:
    await put(store, patient("p1", identified("urn:mrn", "m1"), birthDate="1980"))
    await put(store, *(report(f"r{n}") for n in (1, 2, 3)))
    first = await store.search(LAB, asked(text, count=1, total=Total.ACCURATE))
    await put(store, report("r4"))
    rest = replace(asked(text, count=100, total=Total.NONE, position=first.next), as_of=moment)
    page = await store.search(LAB, rest)
    assert ids(page.entries) == ["r2", "r3", "r4"]
    assert page.as_of is None  # So that whoever counted at the first page knows better than to repeat it.
    assert page.total is None
    assert [str(one.key) for one in page.included] == ["Patient/p1"] * ("_include" in text)


def large(id: str, **more: Any) -> dict[str, Any]:
    """A report of 3 MB."""
    form = [{"contentType": "text/plain", "data": "QUJD" * 750_000}]
    return report(id, presentedForm=form, **more)


@pytest.mark.parametrize("sort", ["_id", "status,_id"], ids=["find", "aggregate"])
@pytest.mark.parametrize("by", ["patient=p1", "patient.identifier=m1"])
async def test_an_answer_larger_than_one_reply_is_of_one_moment_too(
    store: MongoResources, sort: str, by: str
) -> None:
    names = [f"r{n}" for n in range(6)]
    await put(store, patient("p1", identified("urn:mrn", "m1")))
    for name in names:
        await put(store, large(name))
    page = await store.search(LAB, asked(f"{by}&_sort={sort}", count=100))
    rest = replace(asked(f"{by}&_sort={sort}", count=100, position=page.next), as_of=page.as_of)
    # A page ends before one reply does.
    assert 0 < len(page.entries) < len(names)
    assert page.total == len(names)
    await put(store, report("r9"))
    again = await store.search(LAB, rest)
    assert ids((*page.entries, *again.entries)) == names
    assert again.as_of == page.as_of
