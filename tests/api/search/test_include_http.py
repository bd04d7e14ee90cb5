"""`_include` and `_revinclude` over HTTP: status, headers and the whole Bundle."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from store.search.parsing.includes import INCLUDES_MAX
from tests.support.fhir import patient, refers, report, resource
from tests.support.service import FHIR_UTF8, Service, opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer

RESULT = "_include=DiagnosticReport:result"


def observation(id: str, **elements: Any) -> dict[str, Any]:
    code = {"text": "made up"}
    return resource("Observation", id, status="final", code=code, subject=refers("Patient/p1"), **elements)


def provenance(id: str, target: str) -> dict[str, Any]:
    agent = [{"who": refers("Organization/lab")}]
    return resource("Provenance", id, target=[refers(target)], recorded="2026-11-01T00:00:00Z", agent=agent)


CHART = (
    patient("p1"),
    resource("Specimen", "s1", subject=refers("Patient/p1")),
    observation("o1", specimen=refers("Specimen/s1")),
    observation("o2"),
    report("r1", effectiveDateTime="2026-02-01", result=[refers("Observation/o1"), refers("Observation/o2")]),
    report("r2", effectiveDateTime="2026-01-01", result=[refers("Observation/o2"), refers("Observation/no")]),
    provenance("v1", "DiagnosticReport/r1"),
    provenance("v2", "Observation/o1"),
)


@pytest.fixture
async def chart(service: Service) -> Service:
    await service.load(*CHART)
    return service


def included(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    return [key_of(entry) for entry in answer.body.get("entry", []) if entry["search"] == {"mode": "include"}]


def key_of(entry: dict[str, Any]) -> str:
    return f"{entry['resource']['resourceType']}/{entry['resource']['id']}"


async def test_a_page_with_what_its_matches_refer_to(chart: Service) -> None:
    answer = await chart.search("patient=p1&_include=DiagnosticReport:patient&_count=50")
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8)
    body = answer.body
    assert (body["type"], body["total"]) == ("searchset", 2)
    assert [key_of(entry) for entry in body["entry"]] == [
        "DiagnosticReport/r1",
        "DiagnosticReport/r2",
        "Patient/p1",
    ]
    assert body["entry"][-1] == {
        "fullUrl": f"{chart.base}/Patient/p1",
        "resource": {**patient("p1"), "meta": {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"}},
        "search": {"mode": "include"},
    }
    assert body["link"] == [
        {
            "relation": "self",
            "url": f"{chart.base}/DiagnosticReport?patient=p1&_include=DiagnosticReport:patient&_count=50",
        }
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (RESULT, "Observation/o1 Observation/o2"),
        ("_include=DiagnosticReport:subject:Patient", "Patient/p1"),
        ("_include=DiagnosticReport:subject:Group", ""),
        ("_include=*", "Observation/o1 Observation/o2 Patient/p1"),
        ("_include=DiagnosticReport:*", "Observation/o1 Observation/o2 Patient/p1"),
        (f"{RESULT}&_include=DiagnosticReport:patient", "Observation/o1 Observation/o2 Patient/p1"),
        (f"{RESULT}&_include=Observation:specimen", "Observation/o1 Observation/o2"),
        (f"{RESULT}&_include:iterate=Observation:specimen", "Observation/o1 Observation/o2 Specimen/s1"),
        (f"{RESULT}&_include:recurse=Observation:specimen", "Observation/o1 Observation/o2 Specimen/s1"),
        ("_revinclude=Provenance:target", "Provenance/v1"),
        (
            f"{RESULT}&_revinclude:iterate=Provenance:target",
            "Observation/o1 Observation/o2 Provenance/v1 Provenance/v2",
        ),
    ],
)
async def test_what_comes_along_by_get_and_by_post(chart: Service, query: str, expected: str) -> None:
    asked = f"patient=p1&{query}"
    for answer in (await chart.search(asked), await chart.post_search(asked)):
        assert sorted(included(answer)) == expected.split()
        assert (answer.ids, answer.body["total"]) == (["r1", "r2"], 2)
        assert query.replace("*", "%2A") in answer.links["self"]


async def test_each_page_carries_its_own(chart: Service) -> None:
    pages = await chart.pages(await chart.search(f"patient=p1&_count=1&{RESULT}"))
    assert [(page.ids, page.body["total"]) for page in pages] == [(["r1"], 2), (["r2"], 2)]
    assert [included(page) for page in pages] == [["Observation/o1", "Observation/o2"], ["Observation/o2"]]
    assert included(await chart.get(pages[-1].links["previous"])) == included(pages[0])
    assert included(await chart.get(pages[-1].links["self"])) == included(pages[1])


async def test_without_matches_nothing_comes_along(chart: Service) -> None:
    answer = await chart.search("patient=nobody&_include=*&_revinclude=Provenance:target")
    assert (answer.status, answer.body["total"], "entry" in answer.body) == (200, 0, False)
    counted = await chart.search("patient=p1&_include=*&_count=0")
    assert (counted.body["total"], "entry" in counted.body) == (2, False)


async def test_another_tenant_s_resource_is_not_included(chart: Service) -> None:
    other = await chart.new_tenant()
    await other.load(CHART[4])
    answer = await other.search("patient=p1&_include=*&_revinclude=Provenance:target")
    assert (answer.ids, included(answer)) == (["r1"], [])


async def test_a_deleted_target_is_left_out(chart: Service) -> None:
    assert (await chart.delete("Observation/o1")).status == 204
    assert (await chart.delete("Provenance/v1")).status == 204
    answer = await chart.search(f"patient=p1&{RESULT}&_revinclude=Provenance:target")
    assert included(answer) == ["Observation/o2"]


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (["system/DiagnosticReport.rs"], ""),
        (["system/DiagnosticReport.rs", "system/Observation.s"], ""),
        (["system/DiagnosticReport.rs", "system/Observation.rs"], "Observation/o1 Observation/o2"),
        (["system/*.rs"], "Observation/o1 Observation/o2 Patient/p1 Provenance/v1"),
    ],
)
async def test_only_what_the_token_may_read_comes_along(
    chart: Service, scopes: list[str], expected: str
) -> None:
    client = await chart.with_token(scopes=scopes)
    answer = await client.search("patient=p1&_include=*&_revinclude=Provenance:target")
    assert answer.ids == ["r1", "r2"]
    assert sorted(included(answer)) == expected.split()


@pytest.mark.parametrize("include", ["_include=Foo:result", "_include=DiagnosticReport:foo"])
async def test_what_is_unknown_is_left_out_and_said_or_refused(chart: Service, include: str) -> None:
    lenient = await chart.search(f"patient=p1&{include}")
    assert (lenient.status, lenient.ids, included(lenient)) == (200, ["r1", "r2"], [])
    assert [entry["search"]["mode"] for entry in lenient.body["entry"]] == ["match", "match", "outcome"]
    assert "_include" not in lenient.links["self"]
    strict = await chart.search(f"patient=p1&{include}", prefer="handling=strict")
    assert (strict.status, strict.headers["Content-Type"]) == (400, FHIR_UTF8)
    assert strict.issues == [("error", "not-supported")]


@pytest.mark.parametrize(
    ("include", "code"),
    [
        ("_include=sentinel", "invalid"),
        ("_include=DiagnosticReport:result,DiagnosticReport:sentinel", "invalid"),
        ("_include:sentinel=DiagnosticReport:result", "not-supported"),
        ("_revinclude=*", "invalid"),
        ("_revinclude=DiagnosticReport:performer", "not-supported"),
    ],
)
async def test_what_is_refused(chart: Service, include: str, code: str) -> None:
    answer = await chart.search(f"patient=p1&{include}")
    assert (answer.status, answer.headers["Content-Type"]) == (400, FHIR_UTF8)
    assert answer.issues == [("error", code)]
    assert include.partition("=")[0] in answer.texts
    assert "sentinel" not in answer.texts.replace("_include:sentinel", "")


async def test_an_include_does_not_bound_a_search(chart: Service) -> None:
    answer = await chart.search("_include=DiagnosticReport:patient")
    assert (answer.status, answer.issues) == (400, [("error", "required")])


async def test_a_page_that_would_include_too_much_ends_early_and_tells_what_one_match_lacks(
    mongodb: str,
) -> None:
    async with opened_service(mongodb, includes_max=1) as service:
        await service.load(*CHART)
        first, second = await service.pages(await service.search(f"patient=p1&{RESULT}"))
        assert (first.ids, second.ids) == (["r1"], ["r2"])
        assert (first.body["total"], second.body["total"]) == (2, 2)
        assert (included(first), included(second)) == (["Observation/o1"], ["Observation/o2"])
        [said] = [e["resource"] for e in first.body["entry"] if e["search"]["mode"] == "outcome"]
        assert [(one["severity"], one["code"]) for one in said["issue"]] == [("warning", "incomplete")]
        assert included(await service.search(f"_id=r2&{RESULT}")) == ["Observation/o2"]


async def test_the_statement_lists_what_is_taken(chart: Service) -> None:
    [rest] = (await chart.get("metadata")).body["rest"]
    rows = {row["type"]: row for row in rest["resource"]}
    assert {"*", "DiagnosticReport:result", "DiagnosticReport:patient"} <= set(
        rows["DiagnosticReport"]["searchInclude"]
    )
    assert "Provenance:target" in rows["DiagnosticReport"]["searchRevInclude"]
    assert "DiagnosticReport:result" in rows["Observation"]["searchRevInclude"]
    for row in rows.values():
        for name, parameter in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            assert row.get(parameter) != []
            told = iter(row.get(parameter, []))
            while some := list(islice(told, INCLUDES_MAX)):
                asked = "".join(f"&{name}={text}" for text in some)
                answer = await chart.search(f"_id=nobody{asked}", type=row["type"], prefer="handling=strict")
                assert answer.status == 200, answer.text
