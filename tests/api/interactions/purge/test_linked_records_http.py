"""The erasure of a patient whose records were merged: all of them go, by whichever number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.retention.holds import Hold, HoldKind
from tests.support.fhir import MRN, Json, identified, message, patient, report

if TYPE_CHECKING:
    from tests.api.interactions.purge.purged import World

NAME = {"family": "Merged-Twice", "given": ["Annegret"]}


def numbered(value: str, **more: Any) -> Json:
    return {"type": {"coding": [{"code": "MR"}]}, **identified(MRN, value), **more}


async def send(world: World, code: str, *numbers: Json, **who: Any) -> None:
    told = {"name": [NAME], "birthDate": "1970-02-03", **who}
    sent = message(report("r", "p", code={"text": code}), patient("p", *numbers, **told))
    answer = await world.service.request("POST", "$process-message", sent)
    assert answer.status == 200, answer.text


@pytest.mark.parametrize("asked", ["OLD-4711", "NEW-4711"])
async def test_both_records_of_a_merged_patient_go(world: World, asked: str) -> None:
    await send(world, "under-the-old", numbered("OLD-4711"))
    await send(world, "under-the-new", numbered("NEW-4711"), numbered("OLD-4711", use="old"))
    others: Json = {"name": [{"family": "Other", "given": ["Bert"]}], "birthDate": "1950-01-01"}
    await send(world, "of another", numbered("BERT-1"), **others)
    texts = ("Merged-Twice", "under-the-old", "under-the-new", "OLD-4711", "NEW-4711")
    assert {text for text, _ in await world.left(texts)} == set(texts)
    await world.erase(f"{MRN}|{asked}", every=True)
    assert await world.left(texts) == set()
    assert {text for text, _ in await world.left(("of another", "BERT-1"))} == {"of another", "BERT-1"}
    refused = await world.service.request(
        "POST",
        "$process-message",
        message(report("r", "p", code={"text": "again"}), patient("p", numbered("OLD-4711"), name=[NAME])),
    )
    assert refused.status == 410


async def test_a_hold_by_the_number_of_a_survivor_holds_what_is_under_the_old_one(world: World) -> None:
    await send(world, "under-the-old", numbered("OLD-4711"))
    await send(world, "under-the-new", numbered("NEW-4711"), numbered("OLD-4711", use="old"))
    subject, now = f"{MRN}|NEW-4711", world.service.clock()
    held = Hold("h1", world.service.tenant, HoldKind.PATIENT, subject, "litigation", now, "tests")
    await world.privacy.holds.add(held)
    documents = list((await world.documents()).values())
    found = await world.privacy.holds.held(world.service.tenant, documents, now)
    assert found >= {one["_id"] for one in documents if one.get("type") in ("Patient", "DiagnosticReport")}


async def test_all_numbers_of_a_record_that_its_client_deleted_lead_to_what_is_theirs(world: World) -> None:
    """A source deletes the old record of a merge itself, or a Patient before it asks for the erasure."""
    mine, insured = identified(MRN, "GONE-4711"), identified("urn:example:insurance", "INSURED-1")
    first, last = patient("gone", mine), patient("gone", mine, insured, name=[NAME])
    await world.service.load(first, last, report("by-insurance", None, subject={"identifier": insured}))
    assert (await world.service.delete("Patient/gone")).status == 204
    await world.erase(f"{MRN}|GONE-4711")
    assert await world.left(("GONE-4711", "INSURED-1", "Merged-Twice")) == set()
    again = report("again", None, subject={"identifier": insured})
    assert (await world.service.put(again)).status == 410


async def test_a_number_of_a_deleted_record_that_somebody_else_has_leads_nowhere(world: World) -> None:
    mine, shared = identified(MRN, "GONE-4711"), identified("urn:example:insurance", "FAMILY-1")
    await world.service.load(patient("gone", mine, shared), patient("bert", shared))
    await world.service.load(report("his", None, subject={"identifier": shared}))
    assert (await world.service.delete("Patient/gone")).status == 204
    await world.erase(f"{MRN}|GONE-4711")
    assert (await world.service.get("DiagnosticReport/his")).status == 200
