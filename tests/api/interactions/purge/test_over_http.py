"""The erasure of a patient over HTTP: what is told, what is refused, and what goes on behind a 202."""

from __future__ import annotations

from typing import Any

import pytest

from api.http.app_keys import PURGES
from store.audit.records import AuditQuery, Deed
from store.errors import Category, ServiceError
from tests.api.interactions.purge.purged import ANNAS, BERTS, REASON, World, anna, verified
from tests.support.fhir import MRN, report
from tests.support.service import Answer


def parameter(answer: Answer, name: str) -> Any:
    """The value of one parameter; of a repeated one the parts of each."""
    found = [one for one in answer.body["parameter"] if one["name"] == name]
    if found and "part" in found[0]:
        return {
            tuple(value for part in one["part"][:-1] for key, value in part.items() if key != "name"): one[
                "part"
            ][-1]["valueInteger"]
            for one in found
        }
    return next((value for one in found for key, value in one.items() if key != "name"), None)


async def purge(world: World, id: str = "anna", reason: str | None = REASON, **more: Any) -> Answer:
    said = [] if reason is None else [{"name": "reason", "valueString": reason}]
    body = {"resourceType": "Parameters", "parameter": said}
    return await world.service.request("POST", f"Patient/{id}/$purge", body, **more)


async def test_over_http_it_tells_counts(world: World) -> None:
    await world.service.load_in_order(*BERTS, *ANNAS)
    answer = await purge(world)
    assert answer.status == 200
    assert parameter(answer, "state") == "done"
    assert parameter(answer, "deleted") == len(ANNAS) + 1
    assert parameter(answer, "held") == 0
    assert parameter(answer, "deletedOf")[("DiagnosticReport", "erasure")] == 6
    assert parameter(answer, "deletedOf")[("file",)] == 1
    assert await world.left() == set()
    again = await purge(world)
    assert (again.status, parameter(again, "deleted")) == (200, 0)
    assert await verified(world) == parameter(again, "receipt") == 2
    wanted = AuditQuery(world.service.tenant, dids=frozenset({Deed.PATIENT_ERASED}))
    [act, *_] = (await world.privacy.audit.find(wanted)).records
    assert act.reason == REASON
    assert act.by.startswith("tests (")


async def test_page_links_from_before_show_nothing_of_it(world: World) -> None:
    await world.service.load_in_order(
        *BERTS, *ANNAS, *(report(f"more{number}", "anna") for number in range(4))
    )
    first = await world.service.search("patient=anna,bert&_count=2&_sort=_id")
    await world.erase()
    pages = (await world.service.pages(first))[1:]
    assert [one for page in pages for one in page.ids] == ["rb"]


async def test_a_long_one_goes_on_behind_202(world: World) -> None:
    await world.service.load_in_order(*BERTS, *ANNAS)
    app = world.service.client.app
    assert app is not None
    app[PURGES]._wait_seconds = 0
    answer = await purge(world)
    assert (answer.status, parameter(answer, "state")) == (202, "running")
    app[PURGES]._wait_seconds = 60
    answer = await purge(world)
    assert (answer.status, parameter(answer, "deleted")) == (200, len(ANNAS) + 1)
    assert await world.left() == set()


MISUSE = (
    ("anna", REASON, ["system/*.cruds"], 403),
    ("anna", None, ["dod/purge"], 400),
    ("anna", "  ", ["dod/purge"], 400),
    ("anna", "x" * 201, ["dod/purge"], 400),
    ("anna", "she is ANNA-4711", ["dod/purge"], 400),
    ("anna", "annegret müßig-überall asked", ["dod/purge"], 400),
    ("nobody", REASON, ["dod/purge"], 404),
)


async def test_misuse_deletes_nothing(world: World) -> None:
    await world.service.load_in_order(*ANNAS)
    before = await world.documents()
    for id, reason, scopes, status in MISUSE:
        other = World(await world.service.with_token(scopes=scopes), world.database)
        answer = await purge(other, id, reason)
        assert answer.status == status, (id, reason, answer.text)
        assert answer.body["resourceType"] == "OperationOutcome"
        assert await world.documents() == before, (id, reason)
        assert await world.database["erasures"].count_documents({}) == 0, (id, reason)
        assert await world.database["receipts"].count_documents({}) == 0, (id, reason)


UNNAMED = (
    ("ANNA-4711", Category.INCORRECT),
    ("|ANNA-4711", Category.INCORRECT),
    (f"{MRN}|", Category.INCORRECT),
    ("Patient/", Category.INCORRECT),
    (f"{MRN}|nobody", Category.NOT_FOUND),
    ("urn:other|ANNA-4711", Category.NOT_FOUND),
    ("urn:example:dummy|000000", Category.CONFLICT),
)


async def test_who_is_not_named_well_is_not_erased(world: World) -> None:
    await world.service.load_in_order(*BERTS, *ANNAS)
    before = await world.documents()
    for text, category in UNNAMED:
        with pytest.raises(ServiceError) as refused:
            await world.erase(text)
        assert refused.value.category is category, text
        assert await world.documents() == before, text
        assert await world.database["erasures"].count_documents({}) == 0, text


async def test_who_is_not_here_may_be_kept_out(world: World) -> None:
    erased = await world.erase(absent=True)
    assert erased.receipt.deleted == 0
    assert (await world.service.put(anna())).status == 410
