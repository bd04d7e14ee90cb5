"""Stock clients against the running service: their calls end well, and answers parse in strict models."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.fhir import Json, coded, identified, message, patient, refers, report, resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import Service

pytestmark = pytest.mark.filterwarnings("ignore")  # Theirs are not ours to mend.
MRN = "urn:made-up:mr"


async def used(service: Service, use: Callable[[str, str], None]) -> None:
    """A client that blocks, in a thread beside the service."""
    await asyncio.to_thread(use, service.base, service.headers["Authorization"])


async def test_fhirpy(service: Service) -> None:
    from fhirpy import SyncFHIRClient  # noqa: PLC0415 -- its warnings are errors while tests are collected
    from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound  # noqa: PLC0415

    def use(base: str, authorization: str) -> None:
        client: Any = SyncFHIRClient(base, authorization=authorization)
        number = f"{MRN}|fhirpy"
        made = client.resource("Patient", identifier=[identified(MRN, "fhirpy")], name=[{"family": "Made"}])
        made.save()
        found = client.resources("Patient").search(identifier=number).get()
        found["gender"] = "female"
        found.save(fields=["gender"])
        found.patch(active=True)
        found["birthDate"] = "1970-01-01"
        found.save()
        found.refresh()
        assert (found["gender"], found["active"], found["meta"]["versionId"]) == ("female", True, "4")
        chosen = client.resources("Patient").search(identifier=number)
        assert chosen.get_or_create(made)[1] is False
        other = client.resource("Patient", identifier=[identified(MRN, "other")])
        others = client.resources("Patient").search(identifier=f"{MRN}|other")
        assert [others.get_or_create(other)[1] for _ in range(2)] == [True, False]
        assert others.update(other)[1] is False
        assert others.patch(active=False)["active"] is False
        for day in range(1, 8):
            client.resource("DiagnosticReport", **_report(found.id, day)).create()
        reports = client.resources("DiagnosticReport").search(patient=f"Patient/{found.id}")
        assert reports.count() == 7
        assert len(reports.limit(2).fetch_all()) == 7
        assert len(reports.search(date__ge=datetime(2026, 1, 3, tzinfo=UTC)).fetch()) == 5
        newest = reports.sort("-date").elements("id", "effectiveDateTime").limit(1).fetch()[0]
        assert newest["effectiveDateTime"].startswith("2026-01-07")
        raw = reports.include("DiagnosticReport", "patient").fetch_raw()
        assert {entry["resource"]["resourceType"] for entry in raw["entry"]} == {
            "DiagnosticReport",
            "Patient",
        }
        with pytest.raises(OperationOutcome, match="family"):
            client.resource("Patient", name=[{"family": {"x": 1}}]).create()
        others.get().delete()
        with pytest.raises(ResourceNotFound):
            client.reference("Patient", "no-such").to_resource()

    await used(service, use)


def _report(patient_id: str, day: int) -> Json:
    return {
        "status": "final",
        "code": coded("58410-2"),
        "subject": refers(f"Patient/{patient_id}"),
        "effectiveDateTime": f"2026-01-{day:02}T08:00:00Z",
    }


async def test_fhirclient(service: Service) -> None:
    fhirclient: Any = import_module("fhirclient.client")
    reports: Any = import_module("fhirclient.models.diagnosticreport").DiagnosticReport
    patients: Any = import_module("fhirclient.models.patient").Patient

    await service.load(*(report(f"r{n}", effectiveDateTime=f"2026-01-0{n + 1}") for n in range(5)))

    def use(base: str, authorization: str) -> None:
        smart = fhirclient.FHIRClient(settings={"app_id": "made-up", "api_base": base})
        smart.server.session.headers["Authorization"] = authorization
        assert smart.prepare()
        assert smart.server.capabilityStatement.fhirVersion == "4.0.1"
        made = patients({"resourceType": "Patient", "identifier": [identified(MRN, "c")]}).create(
            smart.server
        )
        [found] = patients.where({"identifier": f"{MRN}|c"}).perform_resources(smart.server)
        assert found.id == made["id"]
        found.gender = "male"
        found.update(smart.server)
        assert patients.read(found.id, smart.server).gender == "male"
        search = reports.where({"patient": "Patient/p1", "_count": "2"})
        assert len(list(search.perform_resources_iter(smart.server))) == 5
        assert search.perform(smart.server).total == 5
        found.delete(smart.server)

    await used(service, use)


async def test_httpx_takes_compressed_answers(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.base, headers=dict(service.headers)) as client:
        answer = await client.get("/metadata")
        assert answer.headers["Content-Encoding"] in {"gzip", "br", "zstd"}
        assert answer.json()["resourceType"] == "CapabilityStatement"
        known = await client.get("/metadata", headers={"If-None-Match": answer.headers["ETag"]})
        assert known.status_code == 304


BUNDLE: list[Json] = [
    {"request": {"method": "GET", "url": "DiagnosticReport?patient=Patient/p1&colour=red"}},
    {"request": {"method": "GET", "url": "DiagnosticReport/r1"}},
    {"request": {"method": "PUT", "url": "DiagnosticReport/r9"}, "resource": report("r9")},
    {"request": {"method": "POST", "url": "Patient"}, "resource": patient("x", birthDate=["1970"])},
    {"request": {"method": "DELETE", "url": "DiagnosticReport/no-such"}},
]


async def test_answers_parse_in_strict_models(service: Service) -> None:
    """An answer of each kind, parsed by fhir.resources, which refuses what R4 does not know."""
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415

    def parsed(body: Json) -> Any:
        return get_fhir_model_class(body["resourceType"]).model_validate(body)

    await service.load(report("r1"), report("r2"), patient("p1", identified(MRN, "1")))
    await service.put(report("r1", status="amended"))
    failing = {"request": {"method": "PUT", "url": "Patient/1"}, "resource": {"resourceType": "Patient"}}

    async def bundled(kind: str, *entries: Json) -> Any:
        body = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
        return await service.request("POST", "", body)

    answers = [
        await service.get("metadata"),
        await service.search("patient=Patient/p1&_count=1&_include=DiagnosticReport:patient&colour=red"),
        await service.search("patient=Patient/none"),
        await service.search("patient=Patient/p1&_summary=true"),
        await service.search("patient=Patient/p1&_elements=id"),
        await service.search("patient=Patient/p1&_summary=count"),
        await service.search("status=final"),
        await service.get("DiagnosticReport/r1"),
        await service.get("DiagnosticReport/r1/_history"),
        await service.get("DiagnosticReport/no-such"),
        await service.put(report("r3"), prefer="return=OperationOutcome"),
        await service.put(report("r4", "p9", colour="red"), prefer="return=OperationOutcome"),
        await service.delete("DiagnosticReport/r3", prefer="return=OperationOutcome"),
        await service.request("POST", "$process-message", message(patient("p2"), report("m", "p2"))),
        await bundled("batch", *BUNDLE, failing),
        await bundled("transaction", *BUNDLE),
        await bundled("transaction", failing),
        await service.request("POST", "Patient", data=b"{"),
    ]
    for answer in answers:
        parsed(answer.body)


async def test_the_reply_says_which_companions_strict_models_do_not_parse(service: Service) -> None:
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415

    sent = message(
        patient("p1", identified(MRN, "1")),
        report("r1"),
        resource("Provenance", "v1", target=[refers("DiagnosticReport/r1")], recorded="2026-01-01T00:00:00Z"),
        resource("ServiceRequest", "s1", status="active", subject=refers("Patient/p1")),
        resource(
            "Observation", "o1", status="final", code=coded("1"), effectiveDateTime="2026-01-01T10:00:00"
        ),
    )
    answer = await service.request("POST", "$process-message", sent)
    assert answer.status == 200, answer.text
    parse = get_fhir_model_class
    for entry in answer.body["entry"][1:]:
        issues = entry["response"].get("outcome", {}).get("issue", [])
        told = [issue["expression"][0] for issue in issues if issue["severity"] == "warning"]
        stored = (await service.get(entry["response"]["location"])).body
        if told:
            assert told[0].startswith(stored["resourceType"])
            if stored["resourceType"] in ("Provenance", "ServiceRequest"):
                with pytest.raises(ValueError, match="required"):
                    parse(stored["resourceType"]).model_validate(stored)
        else:
            parse(stored["resourceType"]).model_validate(stored)


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/json"])
async def test_merge_patch(service: Service, content_type: str) -> None:
    """As fhirpy and others change a resource: members replace, null removes, lists are replaced whole."""
    await service.load(
        patient("p1", identified(MRN, "1"), gender="male", name=[{"family": "A"}, {"family": "B"}])
    )
    change = {"gender": None, "active": True, "name": [{"family": "C"}], "maritalStatus": {"text": "x"}}
    answer = await service.request("PATCH", "Patient/p1", change, content_type=content_type)
    assert answer.status == 200, answer.text
    stored = (await service.get("Patient/p1")).body
    assert "gender" not in stored
    assert (stored["active"], stored["name"]) == (True, [{"family": "C"}])
    nested = {"maritalStatus": {"coding": [{"code": "M"}]}}
    await service.request("PATCH", f"Patient?identifier={MRN}%7C1", nested, content_type=content_type)
    expected = {"text": "x", "coding": [{"code": "M"}]}
    assert (await service.get("Patient/p1")).body["maritalStatus"] == expected
    for body in ({"id": "p2"}, {"resourceType": "Observation"}, {"gender": 7, "birthDate": "no"}):
        refused = await service.request("PATCH", "Patient/p1", body, content_type=content_type)
        assert refused.status in (400, 422), refused.text
    fhirpath = {"resourceType": "Parameters", "parameter": []}
    refused = await service.request("PATCH", "Patient/p1", fhirpath, content_type=content_type)
    assert (refused.status, "FHIRPath" in refused.texts) == (415, True)
    listed = [{"op": "replace", "path": "/active", "value": False}]
    assert (await service.request("PATCH", "Patient/p1", listed, content_type=content_type)).status == 200
    merge = [{"op": "merge", "path": "", "value": {}}]
    assert (await service.request("PATCH", "Patient/p1", merge, content_type=content_type)).status == 400
