"""A search, or the condition of a write, looks only where its token may search.

Each refused row spelled something out before: a name letter by letter, or that a result is there.
"""

from __future__ import annotations

from base64 import b64encode
from json import dumps
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fhir import MRN, ORDERS, coded, identified, patient, refers, report, resource
from tests.support.service import Service

if TYPE_CHECKING:
    from tests.support.service import Answer

NAMED = patient("p1", identified(MRN, "M-1"), name=[{"family": "Made-Up"}], birthDate="1970-01-01")
GLUCOSE = resource(
    "Observation",
    "o1",
    status="final",
    code=coded("2345-7"),
    subject=refers("Patient/p1"),
    performer=[refers("Practitioner/d1")],
)
CHART = (
    NAMED,
    GLUCOSE,
    resource("Practitioner", "d1", identifier=[identified("urn:npi", "1")], name=[{"family": "Doctor"}]),
    report("r1", identifier=[identified(ORDERS, "A-1")], result=[refers("Observation/o1")]),
)
PATCH = "application/json-patch+json"


@pytest.fixture
async def chart(service: Service) -> Service:
    await service.load(*CHART)
    return service


def is_forbidden(answer: Answer, *words: str, label: object = None) -> None:
    assert answer.status == 403, (label, answer.status, answer.text)
    assert {code for _, code in answer.issues} == {"forbidden"}, label
    assert all(word in answer.texts for word in words), (label, answer.texts)
    assert "Made-Up" not in answer.text, label


async def test_searches_look_only_where_the_token_may_search(chart: Service) -> None:
    reports = await chart.with_token(scopes=["system/DiagnosticReport.rs"])
    results = await chart.with_token(scopes=["system/DiagnosticReport.rs", "system/Observation.rs"])
    patients = await chart.with_token(scopes=["system/Patient.rs"])
    observed = await chart.with_token(scopes=["system/Observation.rs"])
    refused: tuple[tuple[Service, str, str, str, str], ...] = (
        (observed, "Observation", "patient=p1&patient.family=Made", "`patient.family`", "system/Patient.s"),
        (
            reports,
            "DiagnosticReport",
            f"patient.identifier={MRN}|M-1&patient.family=M",
            "family",
            "Patient.s",
        ),
        (reports, "DiagnosticReport", "patient=p1&subject:Patient.name=M", "`patient.name`", "Patient.s"),
        (reports, "DiagnosticReport", "patient=p1&patient.birthdate=lt1980", "birthdate", "Patient.s"),
        (reports, "DiagnosticReport", f"patient=p1&patient.identifier={MRN}|", "identifier", "Patient.s"),
        (
            reports,
            "DiagnosticReport",
            f"patient=p1&patient.identifier:not={MRN}|M-1",
            "identifier",
            "Patient",
        ),
        (reports, "DiagnosticReport", "patient=p1&patient.identifier:missing=false", "identifier", "Patient"),
        (reports, "DiagnosticReport", "patient=p1&result.code=2345-7", "`result.code`", "Observation.s"),
        (results, "DiagnosticReport", "patient=p1&result.patient.family=M", "result.patient", "Patient.s"),
        (reports, "DiagnosticReport", "patient=p1&subject._has:Observation:patient:code=1", "_has", "Observ"),
        (patients, "Patient", "_id=p1&_has:Observation:patient:code=2345-7", "_has:Observation", "ation.s"),
        (
            patients,
            "Patient",
            f"_id=p1&_has:DiagnosticReport:patient:identifier={ORDERS}|A-1",
            "_has",
            "Report.s",
        ),
        (observed, "Observation", "patient=p1&_has:DiagnosticReport:result:status=final", "_has", "Report.s"),
    )
    for token, of_type, asked, *words in refused:
        is_forbidden(await token.search(asked, type=of_type), *words, label=asked)
        is_forbidden(await token.post_search(asked, type=of_type), *words, label=asked)
        assert (await chart.search(asked, type=of_type)).status == 200, asked
    allowed: tuple[tuple[Service, str, str, list[str]], ...] = (
        (reports, "DiagnosticReport", f"patient.identifier={MRN}|M-1", ["r1"]),
        (reports, "DiagnosticReport", "patient.identifier=M-1&_sort=-date", ["r1"]),
        (reports, "DiagnosticReport", f"subject.identifier={MRN}|M-2", []),
        (reports, "DiagnosticReport", "patient._id=p1&patient=p1", ["r1"]),
        (results, "DiagnosticReport", f"patient=p1&result.patient.identifier={MRN}|M-1", ["r1"]),
        (results, "DiagnosticReport", "patient=p1&result.code=2345-7", ["r1"]),
        (reports, "DiagnosticReport", f"patient=p1&order={ORDERS}|A-1", ["r1"]),
    )
    for token, of_type, asked, ids in allowed:
        answer = await token.search(asked, type=of_type)
        assert (answer.status, answer.ids) == (200, ids), (asked, answer.text)


async def test_the_compartment_a_page_link_and_a_batch_look_no_further(chart: Service) -> None:
    await chart.load(report("r2"))
    reports = await chart.with_token(scopes=["system/DiagnosticReport.rs"])
    within = "Patient/p1/DiagnosticReport"
    assert len((await reports.get(within)).ids) == 2
    is_forbidden(await reports.get(f"{within}?patient.family=M"), "`patient.family`")
    page = await chart.search("patient=p1&patient.family=Made&_count=1")
    is_forbidden(await reports.get(page.links["next"]), "`patient.family`")
    assert (await chart.get(page.links["next"])).status == 200
    entries = [
        {"request": {"method": "GET", "url": f"DiagnosticReport?patient=p1{more}"}}
        for more in ("", "&patient.family=M")
    ]
    answer = await reports.request("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    said = [entry["response"]["status"][:3] for entry in answer.body["entry"]]
    assert said == ["200", "403"], answer.text


async def test_includes_neither_show_nor_go_through_what_the_token_may_not_search(chart: Service) -> None:
    around = "patient=p1&_include=*&_include:iterate=Observation:performer&_revinclude=Provenance:target"
    rows: tuple[tuple[list[str], set[str]], ...] = (
        (["Practitioner"], set()),  # The report names none: only its results lead there.
        (["Observation", "Practitioner"], {"Observation/o1", "Practitioner/d1"}),
        (["Patient"], {"Patient/p1"}),
    )
    for types, expected in rows:
        scopes = [f"system/{name}.rs" for name in ("DiagnosticReport", *types)]
        answer = await (await chart.with_token(scopes=scopes)).search(around)
        assert answer.status == 200, answer.text
        shown = {
            f"{one['resource']['resourceType']}/{one['resource']['id']}"
            for one in answer.body["entry"]
            if one["search"]["mode"] == "include"
        }
        assert shown == expected, types


def patched(value: str) -> list[dict[str, Any]]:
    return [{"op": "test", "path": "/name/0/family", "value": value}]


async def test_conditions_of_writes_look_only_where_the_token_may_search(chart: Service) -> None:
    pusher = await chart.with_token(scopes=["system/*.cu"])
    deleter = await chart.with_token(scopes=["system/*.cud"])
    refused = (
        ("Patient", "family=Made-Up&birthdate=1970", "`family`", "system/Patient.s"),
        ("Patient", f"identifier={MRN}|M-1&family=M", "`family`", "system/Patient.s"),
        ("Patient", f"identifier={MRN}|", "`identifier`", "system/Patient.s"),
        ("Patient", f"identifier:not={MRN}|M-9", "`identifier`", "system/Patient.s"),
        ("Patient", "_has:Observation:patient:code=2345-7", "_has:Observation", "Observation.s"),
        ("DiagnosticReport", "patient=p1", "`patient`", "DiagnosticReport.s"),
        ("DiagnosticReport", f"patient.identifier={MRN}|M-1", "`patient`", "DiagnosticReport.s"),
        ("DiagnosticReport", f"identifier={ORDERS}|A-1&patient.family=M", "`patient.family`", "Patient.s"),
    )
    for of_type, asked, *words in refused:
        body = resource(of_type, "x1")
        url = f"{of_type}?{asked}"
        is_forbidden(await pusher.create(body, if_none_exist=asked), *words, label=asked)
        is_forbidden(await pusher.request("PUT", url, body), *words, label=asked)
        operations = dumps([{"op": "add", "path": "/language", "value": "de"}])
        answer = await pusher.request("PATCH", url, data=operations, content_type=PATCH)
        is_forbidden(answer, *words, label=asked)
        is_forbidden(await deleter.request("DELETE", url), *words, label=asked)
        requests: tuple[dict[str, Any], ...] = (
            {"method": "POST", "url": of_type, "ifNoneExist": asked},
            {"method": "PUT", "url": url},
        )
        for asking in requests:
            bundle = {"resourceType": "Bundle", "type": "transaction"}
            bundle["entry"] = [{"resource": body, "request": asking}]  # type: ignore[assignment]
            is_forbidden(await pusher.request("POST", "", bundle), *words, label=asked)
            answer = await pusher.request("POST", "", {**bundle, "type": "batch"})
            assert [e["response"]["status"][:3] for e in answer.body["entry"]] == ["403"], asked
        referring = report("x2", subject=refers(url))
        bundle = {"resourceType": "Bundle", "type": "transaction"}
        entry = {"resource": referring, "request": {"method": "PUT", "url": "DiagnosticReport/x2"}}
        answer = await pusher.request("POST", "", {**bundle, "entry": [entry]})
        is_forbidden(answer, *words, label=f"reference {asked}")
    assert (await chart.get("Patient/x1")).status == 404
    assert (await chart.get("Patient/p1")).body["name"] == NAMED["name"]


async def test_conditions_on_identifiers_need_no_scope_and_tell_no_more_than_where_it_is(
    chart: Service,
) -> None:
    await chart.load({**NAMED, "language": "de"})  # A second version.
    pusher = await chart.with_token(scopes=["system/*.cu"])
    asked = f"identifier={MRN}|M-1"
    for prefer in ("return=representation", "return=minimal"):
        answer = await pusher.create(patient("any"), if_none_exist=asked, prefer=prefer)
        assert (answer.status, answer.text) == (200, "")
        assert answer.headers["Location"] == f"{chart.base}/Patient/p1"
        assert not {"ETag", "Last-Modified"} & set(answer.headers)
    creating = {"method": "POST", "url": "Patient", "ifNoneExist": asked}
    for kind in ("batch", "transaction"):
        entry = {"resource": patient("any"), "request": creating}
        answer = await pusher.request("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
        [told] = answer.body["entry"]
        assert told["response"]["location"] == f"{chart.base}/Patient/p1"
        assert told["response"].keys() == {"status", "location", "outcome"}, kind
        assert "Made-Up" not in answer.text
    # Who may read is told the version, as ever.
    answer = await chart.create(patient("any"), if_none_exist=asked)
    assert answer.headers["Location"] == f"{chart.base}/Patient/p1/_history/2"
    assert answer.headers["ETag"] == 'W/"2"'


async def test_a_patch_compares_only_what_its_sender_may_read(chart: Service) -> None:
    pusher = await chart.with_token(scopes=["system/*.cu"])
    for value in ("Made-Up", "Another"):
        for path in ("Patient/p1", f"Patient?identifier={MRN}|M-1"):
            sent = dumps(patched(value))
            answer = await pusher.request("PATCH", path, data=sent, content_type=PATCH)
            is_forbidden(answer, "system/Patient.r")
        data = b64encode(dumps(patched(value)).encode()).decode()
        binary = {"resourceType": "Binary", "contentType": PATCH, "data": data}
        entry = {"resource": binary, "request": {"method": "PATCH", "url": "Patient/p1"}}
        for kind in ("batch", "transaction"):
            bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
            answer = await pusher.request("POST", "", bundle)
            status = answer.body["entry"][0]["response"]["status"] if kind == "batch" else str(answer.status)
            assert status[:3] == "403", (kind, answer.text)
    done = await chart.request("PATCH", "Patient/p1", data=dumps(patched("Made-Up")), content_type=PATCH)
    assert done.status == 200
