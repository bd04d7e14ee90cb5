"""The same search by each road; identifiers of the patient, other clients, paths of other servers."""

from __future__ import annotations

from uuid import UUID

from tests.api.search.searched import is_refused
from tests.support.fhir import (
    LOINC,
    MRN,
    ORDERS,
    coded,
    identified,
    message,
    patient,
    refers,
    report,
    resource,
)
from tests.support.service import FHIR_UTF8, Service

# --- the same search by each road


async def test_get_post_alias_and_compartment_answer_the_same(service: Service) -> None:
    await service.load(report("a"), report("b", status="partial"), report("c", "p2"))
    answers = [
        await service.search("patient=Patient/p1&status=final"),
        await service.post_search("patient=Patient/p1&status=final"),
        await service.post_search("status=final", url_query="patient=Patient/p1"),
        await service.post_search("", url_query="patient=Patient/p1&status=final"),
        await service.get("DiagnosticReport/_search?patient=Patient/p1&status=final"),
        await service.get("Patient/p1/DiagnosticReport?status=final"),
        await service.get("DiagnosticReport/?patient=Patient/p1&status=final"),
    ]
    for answer in answers:
        assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8)
        assert (answer.ids, answer.body["total"]) == (["a"], 1)
        assert answer.links == {"self": f"{service.base}/DiagnosticReport?patient=Patient/p1&status=final"}


async def test_a_bundle_takes_each_road_of_a_get(service: Service) -> None:
    await service.load(report("a"), report("b", status="partial"), report("c", "p2"))
    urls = (
        "DiagnosticReport?patient=Patient/p1&status=final",
        "DiagnosticReport/_search?patient=Patient/p1&status=final",
        "Patient/p1/DiagnosticReport?status=final",
        "Patient/p1/DiagnosticReport?status=final&patient=Patient/p1",
    )
    for kind in ("batch", "transaction"):
        asked = [{"request": {"method": "GET", "url": one}} for one in (*urls, "Patient/p2/DiagnosticReport")]
        answer = await service.request("POST", "", {"resourceType": "Bundle", "type": kind, "entry": asked})
        found = [one["resource"] for one in answer.body["entry"]]
        assert [[one["resource"]["id"] for one in bundle["entry"]] for bundle in found] == [
            *([["a"]] * len(urls)),
            ["c"],
        ]
        assert {bundle["link"][0]["url"] for bundle in found[: len(urls)]} == {
            f"{service.base}/DiagnosticReport?patient=Patient/p1&status=final"
        }


async def test_url_and_form_of_a_post_mean_and(service: Service) -> None:
    await service.load(report("a"), report("b", "p2"))
    assert (await service.post_search("patient=p1", url_query="patient=p2")).body["total"] == 0


async def test_a_compartment_keeps_to_its_patient(service: Service) -> None:
    await service.load(report("a"), report("b", "p2"))
    assert (await service.get("Patient/p1/DiagnosticReport?patient=p2")).body["total"] == 0
    assert (await service.get("Patient/p2/DiagnosticReport")).ids == ["b"]
    is_refused(await service.get("Patient/p1/Practitioner"), "not-found", status=404)
    is_refused(await service.get("Patient/p1/Nothing"), "not-found", status=404)


async def test_a_type_that_is_not_r4_s(service: Service) -> None:
    is_refused(await service.search("patient=p1", type="Report"), "not-found", status=404)


async def test_other_media_types(service: Service) -> None:
    await service.load(report())
    for accept in (
        "application/fhir+json",
        "application/json",
        "*/*",
        "application/fhir+json; fhirVersion=4.0",
    ):
        assert (await service.search("patient=p1", accept=accept)).status == 200
    assert (await service.search("patient=p1&_format=json")).ids == ["r1"]
    is_refused(await service.search("patient=p1", accept="application/fhir+xml"), "not-supported", status=406)
    is_refused(await service.search("patient=p1&_format=xml"), "not-supported", status=406)
    is_refused(await service.post_search("patient=p1&_format=xml"), "not-supported", status=406)
    posted = await service.request("POST", "DiagnosticReport/_search", {"patient": "p1"})
    is_refused(posted, "not-supported", status=415)


# --- identifiers of the patient (`DECISIONS.md#patient-identifier`)


async def test_an_identifier_is_found_wherever_it_stands(service: Service) -> None:
    await service.load(
        report("literal", "p1"),
        report("logical", None, subject={"identifier": identified(MRN, "1")}),
        report("both", None, subject={**refers("Patient/p1"), "identifier": identified(MRN, "1")}),
        report(
            "contained",
            None,
            contained=[{**patient("inner", identified(MRN, "1"))}],
            subject=refers("#inner"),
        ),
        report("typed", None, subject={"type": "Patient", "identifier": identified(MRN, "1")}),
        report("other-system", None, subject={"identifier": identified("urn:other", "1")}),
        report("other-value", "p2"),
        report("device", None, subject={"type": "Device", "identifier": identified(MRN, "1")}),
        patient("p1", identified(MRN, "1")),
        patient("p2", identified(MRN, "2")),
    )
    anywhere = {"literal", "logical", "both", "contained", "typed"}
    # Where a patient must be named, a device of that number is not found by it.
    for name in ("patient.identifier", "subject:Patient.identifier", "subject.identifier"):
        found = await service.search([(name, f"{MRN}|1")])
        assert (set(found.ids), found.body["total"]) == (anywhere, 5), name
    among = ("_id", "device,typed,other-value")
    by_itself = await service.search([("subject.identifier", f"{MRN}|1"), among])
    assert set(by_itself.ids) == {"device", "typed"}
    assert set((await service.search([("patient:identifier", f"{MRN}|1")])).ids) == {
        "logical",
        "both",
        "typed",
    }
    assert set((await service.search([("patient.identifier", "1")])).ids) == {*anywhere, "other-system"}
    either = await service.search([("patient.identifier", f"{MRN}|1,{MRN}|2")])
    assert set(either.ids) == {*anywhere, "other-value"}


async def test_an_id_of_a_ward_finds_no_reports_where_a_patient_must_be_named(service: Service) -> None:
    """By no road that a bare id, or its own, takes."""
    await service.load(
        resource("Location", "x"),
        report("ward", None, subject=refers("Location/x")),
        report("person", "x"),
        resource("Provenance", "v", target=[refers("Location/x"), refers("DiagnosticReport/ward")]),
    )
    assert (await service.search("subject=x")).ids == ["person"]
    assert (await service.search("subject=x,Location/x")).ids == ["person"]
    assert (await service.search("subject:Patient=x")).ids == ["person"]
    assert (await service.search("_id=ward,person&subject=x")).body["total"] == 2
    for query in (
        "subject=Location/x",
        "subject:Location=x",
        f"subject={service.base}/Location/x",
        "subject=urn:uuid:5b7f4a2c-0d4d-4a7e-8a55-2f6a2a5d1c11",
    ):
        is_refused(await service.search(query), "required")
    is_refused(await service.search("target=Location/x", type="Provenance"), "required")
    there = "_has:DiagnosticReport:subject:status=final"
    is_refused(await service.search(there, type="Location"), "required")
    for back in ("DiagnosticReport:subject", "Provenance:target"):
        found = await service.search(f"_id=x&_revinclude={back}", type="Location")
        shown = [one["resource"]["resourceType"] for one in found.body["entry"]]
        assert shown == ["Location", "OperationOutcome"]
    queries = ("subject=x", "subject=Location/x")
    asked = [{"request": {"method": "GET", "url": f"DiagnosticReport?{one}"}} for one in queries]
    batch = await service.request("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": asked})
    person, ward = batch.body["entry"]
    assert [one["resource"]["id"] for one in person["resource"]["entry"]] == ["person"]
    assert ward["response"]["status"].startswith("400")


async def test_identifier_values_and_systems_are_case_sensitive_and_codes_are_not(service: Service) -> None:
    await service.load(
        report("r", code=coded("AbC"), identifier=[identified(ORDERS, "AbC")]),
        patient("p1", identified(MRN, "AbC")),
    )
    for query, total in (
        ([("patient.identifier", f"{MRN}|AbC")], 1),
        ([("patient.identifier", f"{MRN}|abc")], 0),
        ([("patient.identifier", f"{MRN.upper()}|AbC")], 0),
        ([("patient", "p1"), ("identifier", "abc")], 0),
        ([("patient", "p1"), ("code", "aBc")], 1),
        ([("patient", "p1"), ("code", f"{LOINC}|ABC")], 1),
        ([("patient", "p1"), ("code", f"{LOINC.upper()}|ABC")], 0),
        ([("patient", "P1")], 0),
        ([("_id", "R")], 0),
    ):
        assert (await service.search(query)).body["total"] == total, query


async def test_a_search_follows_the_patient_s_identifiers_as_they_change(service: Service) -> None:
    async def found(value: str) -> list[str]:
        return (await service.search([("patient.identifier", f"{MRN}|{value}")])).ids

    await service.load(report())
    assert await found("1") == []
    await service.load(patient("p1", identified(MRN, "1")))
    assert await found("1") == ["r1"]
    await service.load(patient("p1", identified(MRN, "2")))
    assert (await found("1"), await found("2")) == ([], ["r1"])
    assert (await service.delete("Patient/p1")).status == 204
    assert await found("2") == []
    await service.load(patient("p1", identified(MRN, "2")))
    assert await found("2") == ["r1"]


async def test_a_tenant_never_finds_another_s(service: Service) -> None:
    other = await service.new_tenant()
    await other.load(report(), patient("p1", identified(MRN, "1")))
    for query in ("patient=p1", "patient.identifier=1", "_id=r1"):
        assert (await service.search(query)).body["total"] == 0
        assert (await other.search(query)).body["total"] == 1


# --- the tokens of other clients, the paths of other servers


async def test_who_may_search(service: Service) -> None:
    await service.load(report())
    stranger = Service(service.client, service.clock, service.tenant)
    refused = await stranger.search("patient=p1")
    is_refused(refused, "login", status=401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    writer = await service.with_token(scopes=["system/DiagnosticReport.crud", "system/Observation.s"])
    is_refused(await writer.search("patient=p1"), "forbidden", status=403)
    is_refused(await writer.post_search("patient=p1"), "forbidden", status=403)
    is_refused(await writer.get("Patient/p1/DiagnosticReport"), "forbidden", status=403)
    other = await service.new_tenant()
    foreign = Service(service.client, service.clock, service.tenant, other.headers)
    is_refused(await foreign.search("patient=p1"), "forbidden", status=403)


async def test_the_environment_is_case_sensitive(service: Service) -> None:
    lower = service.root.replace("Development", "development") + "/DiagnosticReport/x"
    answer = await service.get(str(service.client.make_url(lower)))
    is_refused(answer, "not-found", "case-sensitive", status=404)


async def test_an_operation_that_is_not_offered_is_named(service: Service) -> None:
    answer = await service.request("POST", "Fake/$fake-create", {"resourceType": "Bundle"})
    assert answer.status == 404
    [issue] = answer.body["issue"]
    assert issue["details"]["coding"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/operation-outcome", "code": "MSG_NO_MODULE"}
    ]
    assert "`$fake-create`" in issue["details"]["text"]


async def test_a_resource_s_path_does_not_take_post(service: Service) -> None:
    answer = await service.request("POST", "DiagnosticReport/r1", report())
    is_refused(answer, "not-supported", status=405)
    assert {"GET", "PUT", "DELETE"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


async def test_what_a_message_brought_is_found_by_the_patient_s_identifier(service: Service) -> None:
    sent = message(
        report("RedoxExample", "pat", result=[refers("Observation/o")]),
        resource("Observation", "o", status="final", code=coded("1-8"), subject=refers("Patient/pat")),
        patient("pat", identified("urn:redox:health-one:MR", "0000000001")),
    )
    pushed = await service.request("POST", "DiagnosticReport/$diagnosticreport-create", sent)
    assert pushed.status == 200
    found = await service.post_search([("patient.identifier", "urn:redox:health-one:MR|0000000001")])
    [entry] = found.matches
    stored = entry["resource"]
    assert str(UUID(stored["id"])) == stored["id"]
    for reference in (stored["subject"]["reference"], stored["result"][0]["reference"]):
        read = await service.get(reference)
        assert (read.status, UUID(read.body["id"])) == (200, UUID(reference.partition("/")[2]))
