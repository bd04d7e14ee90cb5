"""Messages: whose resources they store, under which ids, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from uuid import UUID

import pytest

from tests.ingest.writes.pushes import SENTINEL, is_refused, locations
from tests.support.fhir import (
    MRN,
    ORDERS,
    Json,
    coded,
    identified,
    message,
    patient,
    refers,
    report,
    resource,
)
from tests.support.service import FHIR_UTF8, Service


def laboratory(*, status: str = "final", source: str = "urn:example:lab") -> Json:
    """A message with a report and what it refers to, in the source's own ids and URLs."""
    return message(
        report(
            "rep",
            "pat",
            status=status,
            identifier=[identified(ORDERS, "A-1")],
            result=[refers("https://lab.example/Observation/obs"), refers("Observation/obs/_history/3")],
            performer=[refers("https://elsewhere.example/Organization/1"), {"display": "Nobody"}],
        ),
        resource("Observation", "obs", status="final", code=coded("1-8"), subject=refers("Patient/pat")),
        patient("pat", identified(MRN, "1")),
        source=source,
    )


MESSAGE_PATHS = (
    "$process-message",
    "DiagnosticReport/$diagnosticreport-create",
    "DiagnosticReport/$diagnosticreport-amend",
    "DiagnosticReport/$write",
    "Observation/$observation-create",
)


@pytest.mark.parametrize("path", MESSAGE_PATHS)
async def test_a_message_stores_its_resources_under_ids_of_their_own(service: Service, path: str) -> None:
    answer = await service.request("POST", path, laboratory())
    found = locations(answer)
    assert [where.split("/")[-4] for where in found] == [
        "MessageHeader",
        "DiagnosticReport",
        "Observation",
        "Patient",
    ]
    for entry, where in zip(answer.body["entry"], found, strict=True):
        assert entry["response"]["status"] == "201 Created"
        assert entry["response"]["etag"] == 'W/"1"'
        assert entry["response"]["lastModified"] == "2026-11-22T12:00:00.000Z"
        assert where.startswith(f"{service.base}/")
        assert where.endswith("/_history/1")
        assert UUID(where.split("/")[-3]).version == 8
    _, rep, obs, pat = ["/".join(where.split("/")[-4:-2]) for where in found]
    stored = (await service.get(rep)).body
    assert stored["subject"] == refers(pat)
    assert stored["result"] == [refers(obs), refers(obs)]
    assert stored["performer"] == [refers("https://elsewhere.example/Organization/1"), {"display": "Nobody"}]
    assert (await service.get(obs)).body["subject"] == refers(pat)
    by_number = await service.search([("patient.identifier", f"{MRN}|1"), ("order", "A-1")])
    assert by_number.ids == [stored["id"]]


async def test_the_same_message_again_changes_nothing_and_says_so(service: Service) -> None:
    first = locations(await service.request("POST", "$process-message", laboratory()))
    service.clock.move(hours=1)
    again = await service.request("POST", "$process-message", {**laboratory(), "id": "again"})
    assert locations(again) == first
    for entry in again.body["entry"]:
        assert (entry["response"]["status"], entry["response"]["etag"]) == ("200 OK", 'W/"1"')
        assert "no new version" in entry["response"]["outcome"]["issue"][0]["details"]["text"]


async def test_a_later_message_about_the_same_report_is_its_next_version(service: Service) -> None:
    first = locations(await service.request("POST", "$process-message", laboratory()))
    amended = locations(await service.request("POST", "$process-message", laboratory(status="amended")))
    assert amended[1] == first[1].removesuffix("1") + "2"
    assert amended[2:] == first[2:]
    past, current = await service.get(first[1]), await service.get(amended[1])
    assert (past.body["status"], current.body["status"]) == ("final", "amended")


async def test_numbers_name_a_resource_and_its_parts_whoever_sends_it(
    service: Service,
) -> None:
    one = locations(await service.request("POST", "$process-message", laboratory()))
    two = locations(await service.request("POST", "$process-message", laboratory(source="urn:example:two")))
    ids = [[where.split("/")[-3] for where in found] for found in (one, two)]
    same = [a == b for a, b in zip(*ids, strict=True)]
    # Header, report, observation, patient: the observation is the report's, whoever sends it.
    assert same == [False, True, True, True]


async def test_a_resource_that_is_stored_already_keeps_its_id(service: Service) -> None:
    await service.load(patient("known", identified(MRN, "1")))
    found = locations(await service.request("POST", "$process-message", laboratory()))
    assert found[3] == f"{service.base}/Patient/known/_history/1"
    assert (await service.get(found[1])).body["subject"] == refers("Patient/known")


async def test_ids_differ_between_tenants(service: Service) -> None:
    other = await service.new_tenant()
    ids = [
        [
            where.split("/")[-3]
            for where in locations(await one.request("POST", "$process-message", laboratory()))
        ]
        for one in (service, other)
    ]
    assert not set(ids[0]) & set(ids[1])


async def test_twenty_messages_at_once_store_one(service: Service) -> None:
    answers = await asyncio.gather(
        *(service.request("POST", "$process-message", laboratory()) for _ in range(20))
    )
    assert len({tuple(locations(answer)) for answer in answers}) == 1
    # Whoever is late gets the first answer, which says `201 Created` too.
    first = [answer for answer in answers if "Idempotent-Replayed" not in answer.headers]
    told = Counter(answer.body["entry"][1]["response"]["status"] for answer in first)
    assert told == Counter({"201 Created": 1, "200 OK": len(first) - 1})
    assert (await service.search("patient.identifier=1")).body["total"] == 1


async def test_twin_entries_are_stored_once_and_each_is_answered(service: Service) -> None:
    twin = patient("pat", identified(MRN, "1"))
    found = locations(
        await service.request("POST", "$process-message", message(report("rep", "pat"), twin, twin))
    )
    assert (len(found), found[2]) == (4, found[3])


async def test_entries_under_one_identifier_that_differ_are_two_resources(service: Service) -> None:
    both = [
        resource("Specimen", f"s{n}", identifier=[identified("urn:x", "1")], note=[{"text": str(n)}])
        for n in (1, 2)
    ]
    found = locations(await service.request("POST", "$process-message", message(*both)))
    assert found[1] != found[2]
    texts = [(await service.get(where)).body["note"][0]["text"] for where in found[1:]]
    assert texts == ["1", "2"]


async def test_nothing_of_a_message_is_dropped_when_two_entries_meet_at_one_stored_id(
    service: Service,
) -> None:
    await service.load(patient("known", identified(MRN, "1"), identified("urn:other", "2")))
    sent = message(
        patient("a", identified(MRN, "1"), gender="female"),
        patient("b", identified("urn:other", "2"), gender="male"),
    )
    found = locations(await service.request("POST", "$process-message", sent))
    genders = {(await service.get(where)).body.get("gender") for where in found[1:]}
    assert genders == {"female", "male"}


async def test_nothing_of_a_message_is_dropped_when_two_entries_have_one_id(service: Service) -> None:
    both = [
        resource("Observation", "o", status="final", code=coded("1-8"), note=[{"text": str(n)}])
        for n in (1, 2)
    ]
    answer = await service.request("POST", "$process-message", message(*both))
    if answer.status == 200:
        texts = {(await service.get(where)).body["note"][0]["text"] for where in locations(answer)[1:]}
        assert texts == {"1", "2"}
    else:
        is_refused(answer, 422, "invalid")


async def test_a_message_without_header_is_taken_and_said_so(service: Service) -> None:
    answer = await service.request(
        "POST", "Observation/$observation-create", message(patient("p"), header=False)
    )
    assert len(locations(answer)) == 1
    assert "`no-message-header`" in answer.text


async def test_an_observation_without_identifier_sent_twice_is_one(service: Service) -> None:
    sent = message(resource("Observation", "o", status="final", code=coded("1-8")))
    first, second = [
        locations(await service.request("POST", "Observation/$observation-create", sent)) for _ in range(2)
    ]
    assert first == second
    assert (await service.get("/".join(first[1].split("/")[-4:-2]))).headers["ETag"] == 'W/"1"'


async def test_a_message_that_breaks_rules_is_refused_with_all_of_them_and_stores_nothing(
    service: Service,
) -> None:
    sent = message(
        patient("pat", identified(MRN, "1")),
        report("a", "pat", status=SENTINEL),
        report("b", "pat", code=None, effectiveDateTime=SENTINEL),
        resource("Nonsense", "n"),
    )
    answer = await service.request("POST", "$process-message", sent)
    assert (answer.status, answer.headers["Content-Type"]) == (422, FHIR_UTF8)
    paths = {issue["expression"][0] for issue in answer.body["issue"]}
    assert {
        "Bundle.entry[2].resource.status",
        "Bundle.entry[3].resource.code",
        "Bundle.entry[4].resource",
    } <= {path.removesuffix(".resourceType") for path in paths}
    assert SENTINEL not in answer.text
    found = await service.search([("identifier", f"{MRN}|1")], type="Patient")
    assert found.body["total"] == 0


@pytest.mark.parametrize(
    "bundle",
    [
        {**message(patient()), "type": "collection"},
        {**message(patient()), "type": "transaction"},
        patient(),
        {"resourceType": "Bundle", "type": "message"},
        {"resourceType": "Bundle", "type": "message", "entry": []},
        {"resourceType": "Bundle", "type": "message", "entry": "x"},
        {"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": "urn:x"}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"id": "x"}}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": []}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": patient(), "fullUrl": 7}]},
        {
            "resourceType": "Bundle",
            "type": "message",
            "entry": [{"resource": {"resourceType": "MessageHeader", "source": []}}, {"resource": patient()}],
        },
        {
            "resourceType": "Bundle",
            "type": "message",
            "entry": [{"resource": {"resourceType": "MessageHeader", "source": "x"}}],
        },
    ],
)
async def test_an_envelope_that_is_no_message(service: Service, bundle: Json) -> None:
    answer = await service.request("POST", "$process-message", bundle)
    if answer.status != 200:
        assert (answer.status, answer.headers["Content-Type"]) == (422, FHIR_UTF8)
        assert all(issue["expression"] for issue in answer.body["issue"])
    else:
        assert bundle["entry"][0]["resource"].get("source") == []


async def test_a_message_needs_scopes_for_every_entry(service: Service) -> None:
    partial = await service.with_token(scopes=["system/DiagnosticReport.cu", "system/Patient.cu"])
    answer = await partial.request("POST", "$process-message", laboratory())
    is_refused(answer, 403, "forbidden")
    found = await service.search([("identifier", f"{MRN}|1")], type="Patient")
    assert found.body["total"] == 0


async def test_ids_of_messages_cannot_be_guessed_from_identifiers(service: Service) -> None:
    [_, where] = locations(
        await service.request("POST", "$process-message", message(patient("x", identified(MRN, "1"))))
    )
    assert UUID(where.split("/")[-3]).version == 8


@pytest.mark.parametrize("number", ["1e999999999", "9" * 5000, "-0", "-0.0", "1e-7", "1.00"])
async def test_a_number_that_no_double_holds_hinders_nothing(service: Service, number: str) -> None:
    body = json.dumps(report(identifier=[identified(MRN, "7")], conclusion="first", extension=["…"]))
    body = body.replace('"\\u2026"', f'{{"url": "urn:x", "valueDecimal": {number}}}')
    for changed in (body, body.replace("first", "second")):
        entries = f'{{"resource":{changed}}},{{"resource":{json.dumps(patient("p1"))}}}'
        wrapped = f'{{"resourceType":"Bundle","type":"message","entry":[{entries}]}}'
        assert (await service.request("POST", "$process-message", data=wrapped)).status == 200
    for headers in ({"If-None-Exist": f"identifier={MRN}|7"}, *({"Idempotency-Key": "k"},) * 2):
        answer = await service.request("POST", "DiagnosticReport", data=body, headers=headers)
        assert answer.status in (200, 201), answer.text
        assert f'"valueDecimal":{number}}}' in answer.text
