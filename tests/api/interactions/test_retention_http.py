"""Expired resources are not served over HTTP in any way, while they are still stored."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from store.retention.policy import CountedFrom, Policy, Rule
from tests.support.fhir import MRN, batch, coded, identified, message, patient, refers, report, resource
from tests.support.service import Service

DOCUMENT = b64encode(bytes(range(256)) * 400).decode()


def observation(id: str) -> dict[str, Any]:
    return resource("Observation", id, status="final", code=coded("1"), subject=refers("Patient/p1"))


async def filled(service: Service) -> str:
    """A report with all that comes along; the path of its document."""
    await service.load(
        patient("p1", identified(MRN, "7")),
        observation("o1"),
        report(
            result=[refers("Observation/o1")],
            identifier=[identified("urn:filler", "f1")],
            presentedForm=[{"contentType": "application/pdf", "data": DOCUMENT}],
        ),
    )
    stored = await service.get("DiagnosticReport/r1")
    return str(stored.body["presentedForm"][0]["url"])


SEARCHES = (
    "DiagnosticReport?patient=p1",
    f"DiagnosticReport?patient.identifier={MRN}|7",
    "DiagnosticReport?_id=r1",
    "DiagnosticReport?patient=p1&_include=*",
    "DiagnosticReport?subject=Patient/p1&_summary=count",
    f"Patient?identifier={MRN}|7",
    "Patient?_id=p1&_revinclude=DiagnosticReport:subject",
    "Patient/p1/DiagnosticReport",
    "Observation?patient=p1",
)
READS = (
    "DiagnosticReport/r1",
    "DiagnosticReport/r1/_history/1",
    "Patient/p1",
    "Observation/o1",
)
HISTORIES = ("DiagnosticReport/_history", "Patient/_history", "Observation/_history")


async def test_nothing_expired_is_shown(service: Service) -> None:
    await service.keeps(Policy(keep_days=20))
    document = await filled(service)
    for path in (*SEARCHES, *HISTORIES):
        answer = await service.get(path)
        assert answer.body["total"] == 1, path
    service.clock.move(days=20)
    for path in (*SEARCHES, *HISTORIES):
        answer = await service.get(path)
        assert (answer.status, answer.body["total"], "entry" in answer.body) == (200, 0, False), path
    for path in (*READS, document, "DiagnosticReport/r1/_history"):
        assert (await service.get(path)).status == 404, path


async def test_an_included_companion_is_there_as_long_as_its_report(service: Service) -> None:
    rules = (Rule(10, CountedFrom.RECEIVED, "DiagnosticReport", ("rad",)),)
    await service.keeps(Policy(keep_days=30, rules=rules))
    radiology = report("r2", category=[coded("RAD", None)], result=[refers("Observation/o1")])
    await service.load(radiology, observation("o1"), observation("o2"), patient())
    service.clock.move(days=10, seconds=-1)
    answer = await service.get("DiagnosticReport?patient=p1&_include=DiagnosticReport:result")
    assert [entry["resource"]["id"] for entry in answer.body["entry"]] == ["r2", "o1"]
    service.clock.move(seconds=2)
    assert (await service.get("DiagnosticReport?patient=p1")).body["total"] == 0
    assert [(await service.get(f"Observation/{one}")).status for one in ("o1", "o2")] == [404, 200]
    assert (await service.get("Patient/p1")).status == 200, "o2 is about the patient"


async def test_a_document_of_a_past_version_is_there_as_long_as_the_version(service: Service) -> None:
    await service.keeps(Policy(keep_days=20, superseded_days=5))
    document = await filled(service)
    await service.load(report(conclusion="without the document"))
    service.clock.move(days=5, seconds=-1)
    assert (await service.request("GET", document, headers={"Range": "bytes=0-9"})).status == 206
    service.clock.move(seconds=1)
    assert (await service.get(document)).status == 404


async def test_a_report_older_than_its_retention_is_taken_and_not_shown(service: Service) -> None:
    await service.keeps(Policy(keep_days=20, counted_from=CountedFrom.EFFECTIVE))
    answer = await service.put(report(effectiveDateTime="2020-01-01"))
    assert answer.status == 201
    assert (await service.get("DiagnosticReport/r1")).status == 404
    assert (await service.search("patient=p1")).body["total"] == 0


@pytest.mark.parametrize("how", ["put", "create", "conditional", "message", "batch", "transaction"])
async def test_what_has_expired_can_come_again(service: Service, how: str) -> None:
    await service.keeps(Policy(keep_days=20))
    whose = {**refers("Patient/p1"), "identifier": identified(MRN, "7")}
    one = report(identifier=[identified("urn:filler", "f1")], subject=whose)

    async def push() -> int:
        match how:
            case "put":
                return (await service.put(one)).status
            case "create":
                return (await service.create(one)).status
            case "conditional":
                answer = await service.request(
                    "POST", "DiagnosticReport", one, headers={"If-None-Exist": "identifier=urn:filler|f1"}
                )
                return answer.status
            case "message":
                sent = message(one, timestamp=service.clock().isoformat())
                return (await service.request("POST", "$process-message", sent)).status
            case _:
                bundle = {**batch(("PUT", "DiagnosticReport/r1", one)), "type": how}
                bundle["timestamp"] = service.clock().isoformat()
                return (await service.request("POST", "", bundle)).status

    async def shown() -> int:
        total: int = (await service.search(f"identifier=urn:filler|f1&patient.identifier={MRN}|7")).body[
            "total"
        ]
        return total

    assert await push() in (200, 201)
    assert await shown() == 1
    service.clock.move(days=21)
    assert await shown() == 0
    assert await push() in (200, 201)
    assert await shown() == 1
