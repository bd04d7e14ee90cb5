"""Messages of real senders: kept where they can be and named in the reply; one bad entry is one refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.fhir import Json, coded, identified, message, patient, refers, report, resource

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

MRN = "urn:made-up:mr"
REVERSED = {"start": "2021-01-01", "end": "2020-01-01"}


def order(**elements: Any) -> Json:
    return resource(
        "ServiceRequest", "o1", status="active", intent="order", subject=refers("Patient/p1"), **elements
    )


def observation(id: str, **elements: Any) -> Json:
    subject = refers("Patient/p1")
    return resource("Observation", id, status="final", code=coded("2345-7"), subject=subject, **elements)


KEPT: list[tuple[Json, str, str | None]] = [
    (patient("p1", name=[{"given": [None, "Ann"], "_given": [{"id": "a"}, None]}]), "", "name=Ann"),
    (patient("p1", name=[{"given": [None, "Ann"]}]), "", "given=Ann"),
    (resource("Organization", "g1", alias=[None, "Made Up"]), "", "name=made"),
    (resource("Organization", "g1", meta={"profile": [None, "urn:made-up:p"]}), "", "_profile=urn:made-up:p"),
    (order(occurrenceTiming={"event": [None, "2021-02-03"]}), "", "occurrence=2021-02-03"),
    (
        resource("Organization", "g1", identifier=[{**identified(MRN, "1"), "type": [coded("XX")]}]),
        "list-for-object",
        f"identifier={MRN}|1",
    ),
    (patient("p1", gender=["female"], birthDate=["1970-01-01"]), "list-for-object", "birthdate=1970-01-01"),
    (patient("p1", name=[{"family": ["Doe"]}]), "list-for-object", "family=Doe"),
    (observation("b1", valueQuantity=[{"value": 7}]), "list-for-object", "value-quantity=7"),
    (patient("p1", identifier=[None, identified(MRN, "2")]), "null-in-list", f"identifier={MRN}|2"),
    (order(occurrenceTiming={"repeat": {"boundsPeriod": REVERSED}}), "reversed-period", "patient=Patient/p1"),
    (order(occurrencePeriod=REVERSED), "reversed-period", "patient=Patient/p1"),
    (
        resource("Encounter", "e1", status="finished", period=REVERSED, **{"class": {"code": "AMB"}}),
        "reversed-period",
        "",
    ),
    (patient("p1", deceasedDateTime="2020-01-01T10:00:00"), "date-without-zone", "death-date=2020-01-01"),
    (patient("p1", deceasedDateTime="2020-01-01T24:00:00Z"), "hour-24", "death-date=2020-01-02"),
    (patient("p1", colour="red"), "unknown-element", ""),
    (report("r1", None, subject=refers("Patient 5")), "dead-reference", "_id=r1"),
    (report("r1", None, subject=refers("5")), "dead-reference", "subject=5"),
    (
        report("r1", None, subject=refers(f"Patient?identifier={MRN}|3")),
        "conditional-reference",
        f"patient.identifier={MRN}|3",
    ),
    (
        report("r1", None, subject=refers(f"Patient?identifier={quote(MRN)}%7Ca%5C,b")),
        "conditional-reference",
        f"patient.identifier={MRN}|a\\,b",
    ),
    (
        report("r1", None, subject=refers("Patient?identifier=4")),
        "conditional-reference",
        "patient.identifier=4",
    ),
]


@pytest.mark.parametrize(("sent", "tolerance", "criteria"), KEPT)
async def test_kept_named_found_and_refused_by_strict_handling(
    service: Service, sent: Json, tolerance: str, criteria: str | None
) -> None:
    strict = await service.put(sent, prefer="handling=strict")
    assert strict.status == (422 if tolerance else 201), strict.text
    answer = await service.put(sent, prefer="return=OperationOutcome")
    assert answer.status == (201 if tolerance else 200)
    named = answer.headers.get("Dod-Tolerances", "")
    assert named == tolerance
    if not tolerance.endswith(("for-object", "in-list", "")) or tolerance == "reversed-period":
        places = [issue["expression"] for issue in answer.body["issue"] if issue["severity"] == "warning"]
        assert places, answer.text
        assert places[0] == strict.body["issue"][0]["expression"]
    if criteria:
        anyone = await service.with_token(scopes=["system/*.cruds"])
        found = await anyone.search(f"{criteria}&_id={sent['id']}", type=sent["resourceType"])
        assert found.ids == [sent["id"]], found.text


async def test_a_reversed_period_is_found_by_no_date(service: Service) -> None:
    await service.load(order(occurrencePeriod=REVERSED))
    for asked in ("2020-06", "lt2030", "ge1900", "ne2000"):
        found = await service.search(f"patient=Patient/p1&occurrence={asked}", type="ServiceRequest")
        assert found.body["total"] == 0


def statuses(answer: Answer) -> list[str]:
    return [entry["response"]["status"][:3] for entry in answer.body["entry"]]


async def test_one_bad_entry_of_a_message_is_one_refusal(service: Service) -> None:
    bad = report("bad", text={"status": "generated"}, identifier=[identified("urn:made-up:f", "bad")])
    good = [report(f"r{n}", identifier=[identified("urn:made-up:f", str(n))]) for n in range(3)]
    sent = message(patient("p1", identified(MRN, "9")), bad, *good)
    answer = await service.request("POST", "$process-message", sent)
    assert statuses(answer)[1:] == ["201", "422", "201", "201", "201"], answer.text
    [entry] = [entry for entry in answer.body["entry"] if entry["response"]["status"][:3] == "422"]
    told = " ".join(issue["diagnostics"] for issue in entry["response"]["outcome"]["issue"])
    assert "Dead-Letter: " in told
    assert "`Bundle.entry[2].resource`" in told
    found = await service.search(f"patient.identifier={MRN}|9")
    assert found.body["total"] == 3
    headers = {"Prefer": "handling=strict"}
    assert (await service.request("POST", "$process-message", sent, headers=headers)).status == 422
    alone = message(patient("p1", identified(MRN, "9")), bad)
    assert (await service.request("POST", "$process-message", alone)).status == 422


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        (7, "Bundle.entry[1]"),
        ({"resource": [], "request": {"method": "POST", "url": "Patient"}}, "Bundle.entry[1].resource"),
        ({"fullUrl": 7, "resource": patient("p")}, "Bundle.entry[1].fullUrl"),
        ({"resource": patient("p"), "request": "POST"}, "Bundle.entry[1].request"),
    ],
)
async def test_one_bad_entry_of_a_batch_is_one_refusal(service: Service, bad: Any, place: str) -> None:
    good = {"resource": patient("p"), "request": {"method": "POST", "url": "Patient"}}
    sent = {"resourceType": "Bundle", "type": "batch", "entry": [good, bad, good]}
    answer = await service.request("POST", "", sent)
    assert statuses(answer) == ["201", "422", "201"], answer.text
    [issue] = answer.body["entry"][1]["response"]["outcome"]["issue"]
    assert issue["expression"] == [place]
    whole = await service.request("POST", "", {**sent, "type": "transaction"})
    assert whole.status == 422


async def test_a_transaction_may_search_and_sees_what_it_stores(service: Service) -> None:
    await service.load(report("r0"))
    search = {"method": "GET", "url": "DiagnosticReport?patient=Patient/p1&_include=DiagnosticReport:patient"}
    entries = [
        {"request": search},
        {"resource": patient("p1"), "request": {"method": "PUT", "url": "Patient/p1"}},
        {"resource": report("r1"), "request": {"method": "PUT", "url": "DiagnosticReport/r1"}},
        {"request": {"method": "GET", "url": "DiagnosticReport/r0"}},
    ]
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await service.request("POST", "", sent)
    assert statuses(answer) == ["200", "201", "201", "200"], answer.text
    found = answer.body["entry"][0]["resource"]
    assert found["total"] == 2
    assert sorted(entry["resource"]["id"] for entry in found["entry"]) == ["p1", "r0", "r1"]
    wrong = {"request": {"method": "GET", "url": "DiagnosticReport?status=final"}}
    put = {"resource": report("r2"), "request": {"method": "PUT", "url": "DiagnosticReport/r2"}}
    refused = await service.request("POST", "", {**sent, "entry": [put, wrong]})
    assert (refused.status, refused.issues) == (400, [("error", "required")])
    assert (await service.get("DiagnosticReport/r2")).status == 404
    writer = await service.with_token(scopes=["system/*.cu"])
    assert (await writer.request("POST", "", {**sent, "entry": [put, entries[0]]})).status == 403


@pytest.mark.parametrize("spelling", ["{base}/", ""])
@pytest.mark.parametrize("criteria", ["identifier=urn:made-up:mr%7Ca%5C,b", "identifier=a%5C,b"])
async def test_conditional_references_of_a_transaction(
    service: Service, spelling: str, criteria: str
) -> None:
    """With an escaped comma, without a system, as a whole URL; to what it stores, and to what is there."""
    condition = f"{spelling.format(base=service.base)}Patient?{criteria}"
    subject = {
        "resource": patient("p1", identified(MRN, "a,b")),
        "request": {"method": "PUT", "url": "Patient/p1"},
    }
    about = {
        "resource": report("r1", None, subject=refers(condition)),
        "request": {"method": "PUT", "url": "DiagnosticReport/r1"},
    }
    for entries in ([subject, about], [about]):
        answer = await service.request(
            "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
        assert answer.status == 200, answer.text
        stored = (await service.get("DiagnosticReport/r1")).body
        assert stored["subject"]["reference"] == "Patient/p1"
