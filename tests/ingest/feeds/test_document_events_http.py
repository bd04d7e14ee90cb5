"""Notifications about a document (MDM): each is of the document of TXA-12, whatever else is left unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from store.tenancy import SearchScope
from tests.support.cases import all_of
from tests.support.hl7v2 import PID, message, obx, send

if TYPE_CHECKING:
    from tests.support.service import Service

NOTE: Final = obx("N^Note^L", "all is well", kind="TX")
OTHER: Final = PID.replace("P-1", "P-2")


def txa(number: str = "DOC-1", *, kind: str = "PN^Progress note^L", status: str = "AU") -> str:
    held = f"{number}^HOSP" if number else ""
    return f"TXA|1|{kind}|TX|20261122100000+0000||||||||{held}|||||{status}||AV"


def at(minute: int, event: str, *segments: str, who: str = PID) -> bytes:
    return message(who, *segments, event=event, number=f"M-{minute}", time=f"2026112210{minute:02}00+0000")


async def documents(service: Service) -> list[str]:
    """Status, type and whether there is a text, of each document."""
    found = await all_of(service, "DocumentReference?")
    return sorted(
        f"{one['status']} {one['type']['coding'][0]['code']}{' with text' if 'content' in one else ''}"
        for one in found
    )


@pytest.mark.parametrize("event", ["T03", "T04", "T07", "T08", "T11"])
@pytest.mark.parametrize(
    "kind", ["PN^Progress note^L", "", "CN^Consultation^L"], ids=["same", "none", "other"]
)
async def test_a_notification_is_of_the_document_that_it_names(lab: Service, event: str, kind: str) -> None:
    await send(lab, at(1, "MDM^T02", txa(status="DO"), NOTE))
    await send(lab, at(2, f"MDM^{event}", txa(kind=kind)))
    status = "entered-in-error" if event == "T11" else "current"
    assert await documents(lab) == [f"{status} {kind.partition('^')[0] or 'PN'} with text"]
    # What is late, or comes again, makes none beside it.
    await send(lab, at(1, "MDM^T02", txa(status="DO"), NOTE))
    assert await documents(lab) == [f"{status} {kind.partition('^')[0] or 'PN'} with text"]


async def test_a_notification_that_is_first_is_of_the_document_that_comes_late(lab: Service) -> None:
    await send(lab, at(2, "MDM^T11", txa(kind="")))
    await send(lab, at(1, "MDM^T02", txa(), NOTE))
    [found] = await all_of(lab, "DocumentReference?")
    assert found["status"] == "entered-in-error"


async def test_a_notification_under_the_number_of_the_survivor(lab: Service) -> None:
    await send(lab, at(1, "MDM^T02", txa(), NOTE))
    await send(lab, at(2, "ADT^A40", "MRG|P-1^^^HOSP^MR", who=OTHER))
    await send(lab, at(3, "MDM^T11", txa(kind=""), who=OTHER))
    assert await documents(lab) == ["entered-in-error PN with text"]


async def test_another_patient_or_number_is_another_document(lab: Service) -> None:
    bob = PID.replace("P-1", "P-9").replace("ANNA", "BOB")
    await send(lab, at(1, "MDM^T02", txa(), NOTE))
    await send(lab, at(2, "MDM^T11", txa(kind=""), who=bob))
    await send(lab, at(3, "MDM^T11", txa("DOC-2", kind="PN")))
    found = await all_of(lab, "DocumentReference?")
    assert sorted(one["status"] for one in found) == ["current", "entered-in-error", "entered-in-error"]


def about(number: str, parent: str) -> str:
    return txa(number).replace("^HOSP|", f"^HOSP|{parent}^HOSP", 1)


@pytest.mark.parametrize(
    ("event", "status"),
    [("T05", "current"), ("T06", "current"), ("T09", "superseded"), ("T10", "superseded")],
)
async def test_an_addendum_and_a_replacement_are_documents_of_their_own(
    lab: Service, event: str, status: str
) -> None:
    await send(lab, at(1, "MDM^T02", txa(), NOTE))
    for _ in range(2):
        await send(lab, at(2, f"MDM^{event}", about("DOC-2", "DOC-1"), NOTE))
        assert await documents(lab) == sorted([f"{status} PN with text", "current PN with text"])
    found = {one["masterIdentifier"]["value"]: one for one in await all_of(lab, "DocumentReference?")}
    assert (found["DOC-1"]["status"], found["DOC-2"]["status"]) == (status, "current")
    assert found["DOC-2"]["relatesTo"][0]["target"]["identifier"]["value"] == "DOC-1"


async def test_a_document_is_superseded_also_when_it_comes_late_and_never_by_itself(lab: Service) -> None:
    await send(lab, at(2, "MDM^T10", about("DOC-2", "DOC-1"), NOTE))
    await send(lab, at(1, "MDM^T02", txa(), NOTE))
    await send(lab, at(3, "MDM^T10", about("DOC-3", "DOC-3"), NOTE))
    found = {one["masterIdentifier"]["value"]: one for one in await all_of(lab, "DocumentReference?")}
    statuses = {number: one["status"] for number, one in found.items()}
    assert statuses == {"DOC-1": "superseded", "DOC-2": "current", "DOC-3": "current"}


@pytest.fixture
async def lab(service: Service) -> Service:
    return await service.new_tenant(search_scope=SearchScope.ANY)
