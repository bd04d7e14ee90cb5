"""`_summary` and `_elements` over HTTP, on a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.search.subset import SUBSETTED
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.service import FHIR_UTF8, Service, exactly

if TYPE_CHECKING:
    from tests.support.service import Answer

STAMP = {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"}
META = {**STAMP, "tag": [SUBSETTED]}
TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'}
FULL = report(
    text=TEXT,
    effectiveDateTime="2026-01-01",
    result=[refers("Observation/o1")],
    media=[{"comment": "c", "link": refers("Media/m1")}],
    conclusion="c",
)


@pytest.fixture
async def loaded(service: Service) -> Service:
    """A tenant with one full report and its patient."""
    await service.load(FULL, patient(text=TEXT, name=[{"family": "Test"}], photo=[{"title": "t"}]))
    return service


async def asked(service: Service, parameters: str) -> Answer:
    """The answer to GET and to POST, which are the same."""
    got, posted = await service.search(parameters), await service.post_search(parameters)
    for answer in (got, posted):
        assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    first, second = got.body, posted.body
    assert first.pop("id") != second.pop("id")
    assert first == second
    return got


def without(full: dict[str, Any], *names: str, **changed: Any) -> dict[str, Any]:
    kept = {name: value for name, value in full.items() if name not in names}
    return {**kept, "meta": META, **changed}


SUBSETS = {
    "_summary=true": without(FULL, "text", "result", "conclusion", media=[{"link": refers("Media/m1")}]),
    "_summary=data": without(FULL, "text"),
    "_summary=text": without(FULL, "subject", "effectiveDateTime", "result", "media", "conclusion"),
    "_summary=false": {**FULL, "meta": STAMP},
    "_elements=conclusion": without(FULL, "text", "subject", "effectiveDateTime", "result", "media"),
    "_elements=DiagnosticReport.effective": without(FULL, "text", "subject", "result", "media", "conclusion"),
}


@pytest.mark.parametrize(("asks", "shown"), SUBSETS.items(), ids=SUBSETS)
async def test_a_match_is_cut_down(loaded: Service, asks: str, shown: dict[str, Any]) -> None:
    body = (await asked(loaded, f"patient=p1&{asks}")).body
    assert body["total"] == 1
    assert body["link"] == [{"relation": "self", "url": f"{loaded.base}/DiagnosticReport?patient=p1&{asks}"}]
    assert body["entry"] == [
        {
            "fullUrl": f"{loaded.base}/DiagnosticReport/r1",
            "resource": shown,
            "search": {"mode": "match", "score": 1},
        }
    ]


async def test_what_is_stored_stays_whole(loaded: Service) -> None:
    await asked(loaded, "patient=p1&_summary=true")
    assert (await loaded.get("DiagnosticReport/r1")).body == {**FULL, "meta": STAMP}


@pytest.mark.parametrize("more", ["", "&_count=1", "&_elements=code", "&_include=DiagnosticReport:subject"])
async def test_a_summary_of_the_count_is_the_total_alone(loaded: Service, more: str) -> None:
    await loaded.load(report("r2"))
    answer = await asked(loaded, f"patient=p1&_summary=count{more}")
    assert sorted(answer.body) == ["id", "link", "resourceType", "total", "type"]
    assert answer.body["total"] == 2
    assert list(answer.links) == ["self"]


@pytest.mark.parametrize("asks", ["_summary=true", "_elements=issued"])
async def test_each_page_is_cut_down(service: Service, asks: str) -> None:
    await service.load(*(report(f"r{n}", conclusion="c") for n in range(5)))
    first = await service.post_search(f"patient=p1&_count=2&{asks}")
    assert asks in first.links["self"]
    pages = await service.pages(first)
    back = await service.pages(pages[-1], "previous")
    assert [len(page.ids) for page in pages] == [2, 2, 1]
    for page in (*pages, *back):
        assert page.body["total"] == 5
        for match in page.matches:
            assert "conclusion" not in match["resource"]
            assert match["resource"]["meta"]["tag"] == [SUBSETTED]


@pytest.mark.parametrize("asks", ["_summary=true", "_summary=data", "_elements=value"])
async def test_digits_stay(service: Service, asks: str) -> None:
    sent = (
        '{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"c"},'
        '"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":%s},"note":[{"text":"n"}]}'
    )
    number = "1.2300000000000000000000"
    put = await service.request("PUT", "Observation/o1", data=sent % number)
    assert put.status == 201, put.text
    found = await service.search(f"patient=p1&{asks}", type="Observation")
    [entry] = exactly(found.text)["entry"]
    assert entry["resource"]["valueQuantity"]["value"] == number
    assert entry["resource"]["meta"]["tag"] == [SUBSETTED]


@pytest.mark.parametrize(
    ("asks", "left_out"),
    [("_summary=true", {"text", "photo"}), ("_summary=data", {"text"}), ("_elements=subject", set())],
)
async def test_what_a_match_brings_along(loaded: Service, asks: str, left_out: set[str]) -> None:
    answer = await asked(loaded, f"patient=p1&_include=DiagnosticReport:subject&{asks}")
    match, included = answer.body["entry"]
    assert (match["search"]["mode"], included["search"]["mode"]) == ("match", "include")
    assert "conclusion" not in match["resource"] or asks == "_summary=data"
    assert {"text", "photo"} - set(included["resource"]) == left_out
    assert ("tag" in included["resource"]["meta"]) == bool(left_out)


@pytest.mark.parametrize(
    ("asks", "name"),
    [
        ("_summary=sentinel", "_summary"),
        ("_summary=text&_include=DiagnosticReport:subject", "_summary"),
        ("_summary=true&_elements=code", "_elements"),
        ("_elements=subject.reference", "_elements"),
        ("_elements=Patient.name", "_elements"),
    ],
)
@pytest.mark.parametrize("handling", ["lenient", "strict"])
async def test_refusals(service: Service, asks: str, name: str, handling: str) -> None:
    for way in (service.search, service.post_search):
        answer = await way(f"patient=p1&{asks}", prefer=f"handling={handling}")
        assert (answer.status, answer.headers["Content-Type"]) == (400, FHIR_UTF8)
        assert answer.issues == [("error", "invalid")]
        assert answer.texts.startswith(f"`{name}`: ")
        assert "sentinel" not in answer.text


async def test_other_types_stay_whole(service: Service) -> None:
    basic = resource("Basic", "b1", code=coded("c"), text=TEXT)
    await service.load(basic)
    found = await service.search("_id=b1&_summary=true", type="Basic")
    assert [match["resource"] for match in found.matches] == [{**basic, "meta": STAMP}]
