"""Searching over HTTP: the whole way from a query string to a Bundle, on a real MongoDB."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from store.tenancy import SearchScope
from tests.api.search.searched import PAGE_MRN, PAGE_PATIENT, SENTINEL, is_refused
from tests.support.fhir import (
    CATEGORY,
    MRN,
    ORDERS,
    identified,
    patient,
    product_page_report,
    refers,
    report,
    resource,
)
from tests.support.service import FHIR_UTF8, FORM, Service, opened_service

PAGE_REPORT = "27894d07-e072-4969-ab7c-12f175be32c2"


async def test_the_product_page_s_own_request(service: Service) -> None:
    await service.load(product_page_report())
    answer = await service.post_search(f"subject=Patient/{PAGE_PATIENT}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8)
    body = answer.body
    assert (body["resourceType"], body["type"], body["total"]) == ("Bundle", "searchset", 1)
    assert str(UUID(body["id"])) == body["id"]
    assert body["link"] == [
        {"relation": "self", "url": f"{service.base}/DiagnosticReport?subject=Patient/{PAGE_PATIENT}"}
    ]
    sent = product_page_report()
    assert body["entry"] == [
        {
            "fullUrl": f"{service.base}/DiagnosticReport/{PAGE_REPORT}",
            "resource": {
                **sent,
                "category": [sent["category"]],
                "meta": {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"},
            },
            "search": {"mode": "match", "score": 1},
        }
    ]


@pytest.mark.parametrize(
    "query",
    [
        f"patient={PAGE_PATIENT}",
        f"patient=Patient/{PAGE_PATIENT}",
        f"patient.identifier={PAGE_MRN}|0000000009",
        f"subject.identifier={PAGE_MRN}|0000000009",
        "patient.identifier=0000000009",
        f"subject:Patient.identifier={PAGE_MRN}|0000000009",
        f"subject:Patient={PAGE_PATIENT}",
        f"subject={PAGE_PATIENT}",
    ],
)
async def test_each_way_to_name_the_patient(page: Service, query: str) -> None:
    found = await page.post_search(query)
    assert (found.status, found.body["total"], found.ids) == (200, 1, [PAGE_REPORT])


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("order=157968301", 1),
        ("order=urn:redox:redox-fhir-sandbox:OrderID|157968301", 1),
        ("identifier=urn:redox:redox-fhir-sandbox:OrderID|157968301", 1),
        ("identifier=157968301", 1),
        ("order=999", 0),
        ("date=ge2015-05-06&date=lt2015-05-07", 1),
        ("date=2015-05", 1),
        ("date=gt2015-05-06", 0),
        ("code=49086-2&status=preliminary", 0),
        ("status=final,preliminary", 1),
        ("code=49086-2&status=final&date=2015", 1),
        ("category=LAB", 1),
        (f"category={CATEGORY}|LAB", 1),
        ("category=http://hl7.org/fhir/v2/0074|LAB", 1),
        ("result=Observation/649503a3-dcce-43be-9bb8-482e56d0a166", 1),
        ("result=3673e6ea-d644-4bf8-ae8e-0d7072fb65fd", 1),
    ],
)
async def test_criteria_beside_the_patient(page: Service, query: str, total: int) -> None:
    for way in (page.search, page.post_search):
        found = await way(f"patient={PAGE_PATIENT}&{query}")
        assert (found.status, found.body["total"], len(found.matches)) == (200, total, total)


async def test_without_a_match_there_is_no_entry(page: Service) -> None:
    body = (await page.search(f"patient={PAGE_PATIENT}&order=999")).body
    assert sorted(body) == ["id", "link", "resourceType", "total", "type"]


# --- names: aliases, unknown ones, those that must be there


ALIASES = {
    "context": ("encounter", "Encounter/e1"),
    "order": ("based-on", "ServiceRequest/o1"),
    "resultsInterpreter": ("results-interpreter", "Practitioner/i1"),
}


@pytest.mark.parametrize("prefer", [{}, {"prefer": "handling=strict"}], ids=["lenient", "strict"])
@pytest.mark.parametrize("alias", ALIASES)
async def test_upstream_s_names_are_known_under_strict_handling_too(
    service: Service, alias: str, prefer: dict[str, str]
) -> None:
    name, value = ALIASES[alias]
    await service.load(
        report(
            "mine",
            encounter=refers("Encounter/e1"),
            basedOn=[refers("ServiceRequest/o1")],
            resultsInterpreter=[refers("Practitioner/i1")],
        ),
        report("other", encounter=refers("Encounter/e2")),
    )
    for asked in (alias, name):
        found = await service.search(f"patient=p1&{asked}={value}", **prefer)
        assert (found.status, found.ids, found.body["total"]) == (200, ["mine"], 1), asked
        assert found.links["self"].endswith(f"?patient=p1&{asked}={value}")


async def test_an_order_is_found_by_reference_by_number_and_among_the_report_s_identifiers(
    service: Service,
) -> None:
    await service.load(
        report("by-reference", basedOn=[refers("ServiceRequest/o1")]),
        report("by-logical", basedOn=[{"identifier": identified(ORDERS, "A-1")}]),
        report("by-own", identifier=[identified(ORDERS, "A-1")]),
        report("unrelated", identifier=[identified(ORDERS, "A-2")], basedOn=[refers("ServiceRequest/o2")]),
        resource("ServiceRequest", "o1", identifier=[identified(ORDERS, "A-1")], status="active"),
    )
    all_three = {"by-reference", "by-logical", "by-own"}
    for value, ids in (
        (f"{ORDERS}|A-1", all_three),
        ("A-1", all_three),
        ("o1", {"by-reference"}),
        ("ServiceRequest/o1", {"by-reference"}),
        (f"{ORDERS}|A-1,{ORDERS}|A-2", {*all_three, "unrelated"}),
    ):
        found = await service.search([("patient", "p1"), ("order", value)])
        assert (found.status, set(found.ids), found.body["total"]) == (200, ids, len(ids)), value


UNBOUNDED = [
    "",
    "pateint=p1",
    "code=58410-2",
    "patient=",
    "subject=Location/ward",
    "patient:missing=false",
    "subject:missing=true",
    "patient.birthdate=2000-01-01",
    "patient.identifier:not=x",
    "order=1",
    "_id:not=r1",
    "_lastUpdated=gt2000",
    "patient.identifer=urn:x|1",
]


@pytest.mark.parametrize("handling", ["lenient", "strict"])
@pytest.mark.parametrize("query", UNBOUNDED)
async def test_a_search_that_names_no_patient_is_refused(service: Service, query: str, handling: str) -> None:
    await service.load(report())
    answer = await service.search(query, prefer=f"handling={handling}")
    if handling == "strict" and re.search("pateint|identifer", query):
        is_refused(answer, "not-supported", "pateint" if "pateint" in query else "identifer")
    elif ":not=r1" not in query or answer.status == 400:
        is_refused(answer, "required", "`patient`", "`patient.identifier`", "`_id`")
    assert answer.status == 400


async def test_a_misspelt_patient_is_named_beside_what_is_required(service: Service) -> None:
    answer = await service.search(f"pateint={SENTINEL}")
    is_refused(answer, "required", "`pateint`")
    assert ("information", "not-supported") in answer.issues


async def test_search_scope_any_needs_no_patient(service: Service) -> None:
    trusted = await service.new_tenant(search_scope=SearchScope.ANY)
    await trusted.load(report("a"), report("b", patient=None), report("c", "p2"))
    assert sorted((await trusted.search()).ids) == ["a", "b", "c"]
    assert (await trusted.search("patient:missing=true")).ids == ["b"]
    assert sorted((await trusted.search("pateint=p1")).ids) == ["a", "b", "c"]


async def test_a_patient_is_searched_for_by_identifier(service: Service) -> None:
    await service.load(patient("p1", identified(MRN, "1")), patient("p2", identified(MRN, "2")))
    found = await service.search([("identifier", f"{MRN}|2")], type="Patient")
    assert (found.status, found.ids) == (200, ["p2"])
    is_refused(await service.search("gender=female", type="Patient"), "required")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("family=muster&birthdate=1970-01-01", ["p1"]),
        ("name=ida&phone=555-1", ["p1"]),
        ("family=muster", None),
        ("birthdate=1970-01-01", None),
        ("family=muster&birthdate=ge1900", None),
        ("family:contains=u&birthdate=1970-01-01", None),
        ("family=muster&phone:not=555-2", None),
        ("given=ida&birthdate=1970-01-01", None),
    ],
)
async def test_a_patient_without_a_number_is_found_by_what_tells_people_apart(
    service: Service, query: str, found: list[str] | None
) -> None:
    called = [{"family": "Muster", "given": ["Ida"]}]
    reached = [{"system": "phone", "value": "555-1"}]
    await service.load(
        patient("p1", name=called, birthDate="1970-01-01", telecom=reached),
        patient("p2", name=called, birthDate="1980-01-01"),
    )
    answer = await service.search(query, type="Patient")
    if found is None:
        is_refused(answer, "required")
    else:
        assert answer.ids == found


async def test_lenient_handling_drops_what_it_does_not_know_and_says_so(service: Service) -> None:
    await service.load(report())
    lenient = await service.search(f"patient=p1&colour={SENTINEL}&size=2")
    assert (lenient.status, lenient.ids, lenient.body["total"]) == (200, ["r1"], 1)
    assert lenient.links["self"].endswith("/DiagnosticReport?patient=p1")
    [outcome] = [entry for entry in lenient.body["entry"] if entry["search"]["mode"] == "outcome"]
    [issue] = [i for i in outcome["resource"]["issue"] if i["expression"] == ["colour"]]
    assert (issue["severity"], issue["code"]) == ("information", "not-supported")
    assert issue["details"]["text"].endswith("; it was left out")
    assert SENTINEL not in lenient.text


async def test_strict_handling_refuses_what_it_does_not_know(service: Service) -> None:
    for prefer in (
        "handling=strict",
        "return=minimal; handling=strict",
        'respond-async, handling="strict"',
        "handling = strict",
        "Handling=strict, handling=lenient",
    ):
        answer = await service.search(f"patient=p1&colour={SENTINEL}&size=2", prefer=prefer)
        is_refused(answer, "not-supported", "`colour`", "`size`")
        assert len(answer.issues) == 2
        assert "left out" not in answer.texts


@pytest.mark.parametrize("prefer", ["handling=lenient", "handling=strict"])
@pytest.mark.parametrize(
    "name",
    [
        *(
            f"code:{m}"
            for m in ("in", "not-in", "above", "below", "exact", "contains", "of-type", "nonsense")
        ),
        *(f"date:{m}" for m in ("exact", "not")),
        *(f"patient:{m}" for m in ("above", "below", "not", "Group", "Practitioner")),
        "order:not",
        "_id:contains",
        "encounter:Patient",
        "patient.identifier:exact",
    ],
)
async def test_a_modifier_that_is_not_offered_is_refused_always(
    service: Service, name: str, prefer: str
) -> None:
    answer = await service.search([("patient", "p1"), (name, SENTINEL)], prefer=prefer)
    is_refused(answer, "not-supported", f"`{name}`")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date", SENTINEL),
        ("date", "foo"),
        ("date", "2015-13"),
        ("date", "2015-02-30"),
        ("date", "xx2015"),
        ("date", "2015-05-06T06"),
        ("date", "2015-05-06T06:00:00 02:00"),
        ("issued", "ge"),
        ("_lastUpdated", "yesterday"),
        ("_count", "-1"),
        ("_count", "many"),
        ("_total", "perhaps"),
        ("code", f"a|b|{SENTINEL}"),
        ("code", f"{SENTINEL}\\x"),
        ("code", "|"),
        ("_id", f"urn:x|{SENTINEL}"),
        ("encounter:missing", SENTINEL),
        ("patient:Patient", f"Group/{SENTINEL}"),
        ("category.code", SENTINEL),
        ("patient:identifier", f"a|b|{SENTINEL}"),
    ],
)
async def test_a_malformed_value_is_refused_by_the_parameter_s_name_and_not_repeated(
    service: Service, name: str, value: str
) -> None:
    for way in (service.search, service.post_search):
        answer = await way([("patient", "p1"), (name, value)])
        is_refused(answer, "invalid", f"`{name}`")
        assert [issue["expression"] for issue in answer.body["issue"]] == [[name]]
        if len(value) > 4:
            assert value not in answer.text


async def test_a_raw_plus_in_an_offset_is_a_space_and_so_malformed(service: Service) -> None:
    is_refused(await service.search("patient=p1&date=2015-05-06T06:00:00+02:00"), "invalid", "`date`")
    right = await service.search("patient=p1&date=2015-05-06T06:00:00%2B02:00")
    assert right.status == 200
    assert right.links["self"].endswith("date=2015-05-06T06:00:00%2B02:00")


async def test_all_that_is_wrong_is_said_at_once(service: Service) -> None:
    answer = await service.search("patient=p1&date=foo&_count=x&code:in=y")
    assert {issue["expression"][0] for issue in answer.body["issue"]} == {"date", "_count", "code:in"}


async def test_a_name_that_may_be_a_value_is_not_repeated(service: Service) -> None:
    for prefer in ("handling=lenient", "handling=strict"):
        answer = await service.search(f"patient=p1&Jane%20{SENTINEL}=1", prefer=prefer)
        assert answer.status == (200 if prefer.endswith("lenient") else 400)
        assert SENTINEL not in answer.text


@pytest.mark.parametrize("raw", ["patient=%ff", "patient=p1&code=%c3%28"])
async def test_parameters_that_are_not_utf8_are_refused(service: Service, raw: str) -> None:
    is_refused(await service.search(raw), "invalid", "UTF-8")
    is_refused(await service.post_search(raw), "invalid", "UTF-8")


async def test_a_form_that_is_not_utf8_is_refused(service: Service) -> None:
    answer = await service.request(
        "POST", "DiagnosticReport/_search", data=b"patient=\xff", content_type=FORM
    )
    is_refused(answer, "invalid", "UTF-8")


async def test_empty_parameters_and_empty_alternatives_are_ignored(service: Service) -> None:
    await service.load(report())
    found = await service.search("patient=p1&status=&code=,&category=,,&status=,final,")
    assert (found.status, found.ids) == (200, ["r1"])
    assert found.links["self"].endswith("?patient=p1&status=,final,")


async def test_limits_of_one_search(mongodb: str) -> None:
    async with opened_service(mongodb, clauses_max=3, values_max=3, page_size_max=2) as small:
        await small.load(*(report(f"r{n}") for n in range(3)))
        assert (await small.search("patient=p1&code=58410-2&status=final")).status == 200
        is_refused(await small.search("patient=p1&code=a&status=final&date=2000"), "too-costly")
        assert (await small.search("patient=p1,p2,p3")).status == 200
        is_refused(await small.search("patient=p1,p2,p3,p4"), "too-costly", "`patient`")
        capped = await small.search("patient=p1&_count=1000")
        assert (len(capped.ids), capped.body["total"]) == (2, 3)
        assert capped.links["self"].endswith("?patient=p1&_count=2")  # What was used, not what was asked.
    many = "&".join(f"a{n}=1" for n in range(501))
    async with opened_service(mongodb) as usual:
        is_refused(await usual.search(many), "too-costly", "500")
