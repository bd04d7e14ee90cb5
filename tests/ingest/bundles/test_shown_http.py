"""Entries of answers to Bundles show as much as is asked for: parts of reads, and what was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fhir import Json, patient, report

if TYPE_CHECKING:
    from tests.support.service import Service

MR = {"system": "urn:mr", "value": "1"}
KINDS = ("batch", "transaction")


async def answered(service: Service, kind: str, entries: list[Json], **headers: str) -> list[Any]:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    answer = await service.request("POST", "", bundle, headers=headers)
    assert answer.status == 200, answer.text
    found: list[Any] = answer.body["entry"]
    return found


def asked(method: str, url: str, resource: Json | None = None) -> Json:
    more = {} if resource is None else {"resource": resource}
    return {**more, "request": {"method": method, "url": url}}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_read_shows_the_part_that_is_asked_for(service: Service, kind: str) -> None:
    await service.load(report("r1", conclusion="made up"))
    for query in ("_elements=id", "_summary=text", "_elements=code&_format=json"):
        alone = await service.get(f"DiagnosticReport/r1?{query}")
        for version in ("", "/_history/1"):
            url = f"DiagnosticReport/r1{version}?{query}"
            [read] = await answered(service, kind, [asked("GET", url)])
            assert read["resource"] == alone.body, url
            assert "conclusion" not in read["resource"]
            assert read["response"]["etag"] == 'W/"1"'
    [whole] = await answered(service, kind, [asked("GET", "DiagnosticReport/r1?_format=json")])
    assert whole["resource"]["conclusion"] == "made up"


async def test_a_part_that_is_none_refuses_its_entry_or_the_transaction(service: Service) -> None:
    await service.load(report("r1"))
    [read] = await answered(service, "batch", [asked("GET", "DiagnosticReport/r1?_summary=count")])
    assert read["response"]["status"] == "400"
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [asked("GET", "DiagnosticReport/r1?_summary=count")],
    }
    assert (await service.request("POST", "", bundle)).status == 400


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_stored_is_shown_where_it_is_preferred(service: Service, kind: str) -> None:
    entries = [
        asked("POST", "DiagnosticReport", report("x", conclusion="made up")),
        asked("PUT", "Patient/p1", patient("p1")),
        asked("PUT", "Patient?_id=p9", patient("p9")),
    ]
    shown = await answered(service, kind, entries, Prefer="return=representation")
    for entry in shown:
        stored = await service.get(entry["response"]["location"])
        assert (entry["resource"], entry["fullUrl"]) == (
            stored.body,
            f"{service.base}/{stored.body['resourceType']}/{stored.body['id']}",
        )
    again = await answered(service, kind, entries, Prefer="return=representation")
    assert [one["resource"] for one in again] == [one["resource"] for one in shown]
    for prefer in ("return=minimal", "handling=lenient"):
        for entry in await answered(
            service, kind, [asked("PUT", "Patient/p1", patient("p1"))], Prefer=prefer
        ):
            assert "resource" not in entry
    new = [asked("PUT", "Patient/p2", patient("p2"))]
    [told] = await answered(service, kind, new, Prefer="return=OperationOutcome")
    assert [one["details"]["text"] for one in told["response"]["outcome"]["issue"]] == ["Created."]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_shown_to_whoever_may_not_read(service: Service, kind: str) -> None:
    writer = await service.with_token(scopes=["system/*.cu"])
    entries = [asked("PUT", "Patient/p1", patient("p1"))]
    [entry] = await answered(writer, kind, entries, Prefer="return=representation")
    assert "resource" not in entry
    assert entry["response"]["status"] == "201 Created"


async def test_a_message_says_where_its_resources_are_and_shows_none(service: Service) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            {
                "fullUrl": "urn:uuid:1",
                "resource": report("x", subject={"identifier": MR}, conclusion="made up"),
            }
        ],
    }
    prefer = {"Prefer": "return=representation"}
    answer = await service.request("POST", "$process-message", bundle, headers=prefer)
    assert answer.status == 200, answer.text
    assert "conclusion" not in answer.text
