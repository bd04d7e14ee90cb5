"""Searching over HTTP: the whole way from a query string to a Bundle, on a real MongoDB."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from api.http.app_keys import PAGE_SECRET
from api.search.page_token import PageState, seal, unseal
from store.retention.policy import Policy
from store.search.criteria import Moment
from store.tenancy import SearchScope
from tests.support.fhir import (
    CATEGORY,
    LOINC,
    MRN,
    ORDERS,
    coded,
    identified,
    message,
    patient,
    product_page_report,
    refers,
    report,
    resource,
)
from tests.support.service import FHIR_UTF8, FORM, Service, opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer

SENTINEL = "sentinel-7391"
"""Stands for a patient's value; must never come back in an error."""


def is_refused(answer: Answer, code: str, *said: str, status: int = 400) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert ("error", code) in answer.issues, answer.text
    for text in said:
        assert text in answer.text
    assert SENTINEL not in answer.text
    assert SENTINEL not in str(answer.headers)


# --- upstream's product page


PAGE_PATIENT = "81c2f5eb-f99f-40c4-b504-59483e6148d7"
PAGE_REPORT = "27894d07-e072-4969-ab7c-12f175be32c2"
PAGE_MRN = "urn:redox:redox-fhir-sandbox:MR"


@pytest.fixture
async def page(service: Service) -> Service:
    """A tenant with the product page's report and its patient."""
    await service.load(product_page_report(), patient(PAGE_PATIENT, identified(PAGE_MRN, "0000000009")))
    return service


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
    for name in ("patient.identifier", "subject:Patient.identifier"):
        found = await service.search([(name, f"{MRN}|1")])
        assert (set(found.ids), found.body["total"]) == (anywhere, 5), name
    assert set((await service.search([("subject.identifier", f"{MRN}|1")])).ids) == {*anywhere, "device"}
    assert set((await service.search([("patient:identifier", f"{MRN}|1")])).ids) == {
        "logical",
        "both",
        "typed",
    }
    assert set((await service.search([("patient.identifier", "1")])).ids) == {*anywhere, "other-system"}
    either = await service.search([("patient.identifier", f"{MRN}|1,{MRN}|2")])
    assert set(either.ids) == {*anywhere, "other-value"}


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


# --- order, totals, pages


async def test_the_newest_come_first_and_those_without_a_date_last(service: Service) -> None:
    await service.load(
        report("old", effectiveDateTime="2020-01-01"),
        report("none"),
        report("new", effectivePeriod={"start": "2022-05-01", "end": "2022-06-01"}),
        report("middle", effectiveDateTime="2021-01-01T00:00:00Z"),
    )
    assert (await service.search("patient=p1")).ids == ["new", "middle", "old", "none"]
    assert (await service.search("patient=p1&_sort=-date")).ids == ["new", "middle", "old", "none"]
    assert (await service.search("patient=p1&_sort=date")).ids == ["none", "old", "middle", "new"]


async def test_sorts(service: Service) -> None:
    await service.load(
        report("b", issued="2020-01-03T00:00:00Z", effectiveDateTime="2020"),
        report("a", issued="2020-01-01T00:00:00Z", effectiveDateTime="2020"),
        report("c", issued="2020-01-02T00:00:00Z", effectiveDateTime="2019"),
    )
    for sort, ids in (
        ("_id", "abc"),
        ("-_id", "cba"),
        ("issued", "acb"),
        ("-issued", "bca"),
        ("_lastUpdated", "abc"),
        ("date,issued", "cab"),
        ("-date,issued", "abc"),
        ("-date,-issued", "bac"),
        ("-date&_sort=-issued", "bac"),
    ):
        found = await service.search(f"patient=p1&_sort={sort}")
        assert (found.status, "".join(found.ids)) == (200, ids), sort
        assert found.links["self"].endswith(f"_sort={sort}")


async def test_a_sort_that_is_not_offered_is_left_out_or_refused(service: Service) -> None:
    await service.load(report())
    lenient = await service.search("patient=p1&_sort=order")
    assert (lenient.ids, lenient.links["self"].endswith("?patient=p1")) == (["r1"], True)
    is_refused(await service.search("patient=p1&_sort=order", prefer="handling=strict"), "not-supported")
    partly = await service.search("patient=p1&_sort=order,-_id,nothing,date")
    assert partly.links["self"].endswith("?patient=p1&_sort=-_id,date")


async def test_totals(mongodb: str) -> None:
    async with opened_service(mongodb, count_max=4) as service:
        await service.load(*(report(f"r{n}") for n in range(5)))
        await service.load(*(report(f"few{n}", "p2") for n in range(4)))

        async def total(query: str) -> int | None:
            found: int | None = (await service.search(query)).body.get("total")
            return found

        assert await total("patient=p1") == 5  # All of it is there to be seen.
        assert await total("patient=p2&_count=1") == 4
        assert await total("patient=p1&_count=1") is None
        assert await total("patient=p1&_count=1&_total=estimate") is None
        assert await total("patient=p1&_count=1&_total=accurate") == 5
        assert await total("patient=p2&_count=1&_total=none") is None
        assert await total("patient=p2&_count=0") == 4
        assert await total("patient=p1&_count=0&_total=accurate") == 5


async def test_count_zero_is_the_total_alone(service: Service) -> None:
    await service.load(report())
    body = (await service.search("patient=p1&_count=0")).body
    assert (body["total"], "entry" in body) == (1, False)
    assert [link["relation"] for link in body["link"]] == ["self"]


async def test_paging_forward_and_back(service: Service) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-{n // 2 + 1:02}") for n in range(7)))
    whole = (await service.search("patient=p1")).ids
    assert len(whole) == 7
    for way in (service.search, service.post_search):
        for size in range(1, 8):
            pages = await service.pages(await way(f"patient=p1&_count={size}"))
            assert [id for page in pages for id in page.ids] == whole
            assert {page.body["total"] for page in pages} == {7}
            assert max(len(page.ids) for page in pages) == min(size, 7)
            back = await service.pages(pages[-1], "previous")
            assert [page.ids for page in reversed(back)] == [page.ids for page in pages]
            relations = [sorted(page.links) for page in pages]
            if len(pages) > 1:
                assert relations[0] == ["first", "next", "self"]
                assert relations[-1] == ["first", "previous", "self"]
                first = await service.get(pages[-1].links["first"])
                again = await service.get(pages[1].links["self"])
                assert (first.ids, again.ids) == (pages[0].ids, pages[1].ids)
            else:
                assert relations == [["self"]]


async def test_what_arrives_meanwhile_neither_shifts_nor_repeats(service: Service) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-0{n}") for n in range(1, 7)))
    first = await service.search("patient=p1&_count=2")
    await service.load(report("newest", effectiveDateTime="2021"), report("oldest", effectiveDateTime="2019"))
    await service.delete("DiagnosticReport/r5")
    pages = await service.pages(first)
    assert [id for page in pages for id in page.ids] == ["r6", "r5", "r4", "r3", "r2", "r1"]
    assert {page.body["total"] for page in pages} == {6}


@pytest.mark.parametrize("moment", [Moment(1, 1), Moment(2**31, 1)], ids=["long ago", "not yet"])
async def test_pages_of_a_forgotten_moment_are_those_of_now_and_have_no_total(
    service: Service, moment: Moment
) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-0{n}") for n in range(1, 7)))
    first = await service.search("patient=p1&_count=2")
    assert state_of(service, first).as_of is not None
    await service.load(report("oldest", effectiveDateTime="2019"))
    await service.delete("DiagnosticReport/r3")
    url = sealed(service, first, replace(state_of(service, first), as_of=moment))
    pages = [second := await service.get(url), *(await service.pages(second))[1:]]
    assert [id for page in pages for id in page.ids] == ["r4", "r2", "r1", "oldest"]
    assert not any("total" in page.body for page in pages)
    assert state_of(service, second).as_of is None  # Nor does a later page claim a moment.


async def test_page_links_carry_the_moment_of_the_first_page(service: Service) -> None:
    await service.load(*(report(f"r{n}") for n in range(4)))
    pages = await service.pages(await service.search("patient=p1&_count=1"))
    moments = [state_of(service, page).as_of for page in pages[:-1]]
    assert moments[0] is not None
    assert len(moments) == 3
    assert set(moments) == {moments[0]}
    later = await service.search("patient=p1&_count=1")
    assert state_of(service, later).as_of is not None


def state_of(service: Service, page: Answer) -> PageState:
    """Content of the link to the next page."""
    token = page.links["next"].partition("_page=")[2]
    return unseal(token, tenant=str(service.tenant), secret=secret_of(service), now_seconds=0)


def sealed(service: Service, page: Answer, state: PageState) -> str:
    """The link to the next page, with another state."""
    token = seal(state, tenant=str(service.tenant), secret=secret_of(service))
    return f"{page.links['next'].partition('=')[0]}={token}"


def secret_of(service: Service) -> bytes:
    assert service.client.app is not None
    return service.client.app[PAGE_SECRET]


async def test_page_links_tell_nothing_of_the_search(service: Service) -> None:
    await service.load(*(report(f"r{n}", SENTINEL) for n in range(3)))
    page = await service.post_search(f"patient={SENTINEL}&_count=1")
    for relation in ("first", "next"):
        url = page.links[relation]
        assert re.fullmatch(re.escape(f"{service.base}/DiagnosticReport?_page=") + r"[A-Za-z0-9_-]+", url), (
            relation
        )
    second = await service.get(page.links["next"])
    assert SENTINEL not in str(second.links)
    assert second.matches


async def two_pages(service: Service) -> Answer:
    await service.load(report("r1"), report("r2"))
    answer = await service.search("patient=p1&_count=1")
    assert "next" in answer.links
    return answer


async def test_a_page_link_of_another_tenant_is_not_found(service: Service) -> None:
    mine = await two_pages(service)
    other = await service.new_tenant()
    token = mine.links["next"].partition("_page=")[2]
    is_refused(await other.get(f"DiagnosticReport?_page={token}"), "not-found", "this page link", status=404)
    is_refused(await other.get(mine.links["next"]), "forbidden", status=403)


async def test_an_edited_page_link_is_not_found(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    token = url.partition("_page=")[2]
    changed = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
    for edited in (
        changed,
        token[:-4],
        token[:10],
        "x",
        "",
        "%C3%A9",
        "!!!!" + token,
        token + "*",
        token[:9] + "." + token[9:],
    ):
        answer = await service.get(f"DiagnosticReport?_page={edited}")
        is_refused(answer, "not-found", status=404)


async def test_a_page_link_is_for_its_type_and_stands_alone(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    query = url.partition("?")[2]
    is_refused(await service.get(f"Observation?{query}"), "invalid", "`_page`")
    is_refused(await service.get(f"DiagnosticReport?{query}&patient=p2"), "invalid", "`_page`")
    is_refused(await service.get(f"DiagnosticReport?patient=p2&{query}"), "invalid", "`_page`")
    assert (await service.get(f"DiagnosticReport?_format=json&{query}")).status == 200
    assert (await service.post_search(query)).status == 200


async def test_a_page_link_expires(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=60) as service:
        url = (await two_pages(service)).links["next"]
        service.clock.move(seconds=59)
        assert (await service.get(url)).status == 200
        service.clock.move(seconds=1)
        is_refused(await service.get(url), "expired", "expired", status=410)


async def test_a_page_link_expires_sooner_where_the_policy_says_so(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=10 * 86_400) as service:
        url = (await two_pages(service)).links["next"]
        await service.keeps(Policy(page_token_days=2))
        service.clock.move(days=2, seconds=-1)
        assert (await service.get(url)).status == 200
        service.clock.move(seconds=1)
        is_refused(await service.get(url), "expired", "expired", status=410)


async def test_a_page_link_needs_a_token_that_may_search(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    reader = await service.with_token(scopes=["system/DiagnosticReport.r"])
    is_refused(await reader.get(url), "forbidden", status=403)
    stranger = Service(service.client, service.clock, service.tenant)
    is_refused(await stranger.get(url), "login", status=401)


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
