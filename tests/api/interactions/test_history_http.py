"""Histories over HTTP: the Bundle, its pages, and who may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.retention.policy import Policy
from store.tenancy import SearchScope
from tests.support.fhir import Json, patient, report
from tests.support.service import FHIR_UTF8, Answer, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "DiagnosticReport/r1"


def is_refused(answer: Answer, status: int, *codes: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert [code for _, code in answer.issues] == list(codes), answer.text


def without_id(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


def told(answer: Answer) -> list[tuple[str, str, str]]:
    """(method, status, etag) of each entry."""
    assert (answer.status, answer.body["type"]) == (200, "history"), answer.text
    return [
        (one["request"]["method"], one["response"]["status"], one["response"]["etag"])
        for one in answer.body.get("entry", [])
    ]


def urls(answer: Answer) -> list[str]:
    return [entry["fullUrl"].partition("/Development/")[2] for entry in answer.body.get("entry", [])]


@pytest.fixture
async def lived(service: Service) -> Service:
    """A report that was made, changed, deleted, made again; minute by minute, and a patient at the end."""
    steps: Sequence[Any] = (
        lambda: service.put(report()),
        lambda: service.put(report()),
        lambda: service.put(report(status="amended")),
        lambda: service.delete(PATH),
        lambda: service.put(report(status="corrected")),
        lambda: service.create(patient()),
    )
    for step in steps:
        assert (await step()).status < 300
        service.clock.move(minutes=1)
    return service


async def test_the_history_of_a_resource(lived: Service) -> None:
    answer = await lived.get(f"{PATH}/_history")
    assert answer.headers["Content-Type"] == FHIR_UTF8
    assert told(answer) == [
        ("PUT", "201 Created", 'W/"4"'),
        ("DELETE", "204 No Content", 'W/"3"'),
        ("PUT", "200 OK", 'W/"2"'),
        ("PUT", "201 Created", 'W/"1"'),
    ]
    body = answer.body
    assert (body["resourceType"], body["total"]) == ("Bundle", 4)
    assert answer.links == {"self": f"{lived.base}/{PATH}/_history"}
    assert {entry["request"]["url"] for entry in body["entry"]} == {PATH}
    assert {entry["fullUrl"] for entry in body["entry"]} == {f"{lived.base}/{PATH}"}
    assert [entry["response"]["lastModified"][11:16] for entry in body["entry"]] == [
        "12:04",
        "12:03",
        "12:02",
        "12:00",
    ]
    for number, entry in zip((4, 3, 2, 1), body["entry"], strict=True):
        version = await lived.get(f"{PATH}/_history/{number}")
        if number == 3:
            assert "resource" not in entry
            is_refused(version, 410, "deleted")
        else:
            assert entry["resource"] == version.body


async def test_what_is_deleted_keeps_its_history(lived: Service) -> None:
    await lived.delete(PATH)
    is_refused(await lived.get(PATH), 410, "deleted")
    answer = await lived.get(f"{PATH}/_history")
    assert told(answer)[0] == ("DELETE", "204 No Content", 'W/"5"')
    assert answer.body["total"] == 5


async def test_the_history_of_a_type(lived: Service) -> None:
    answer = await lived.get("DiagnosticReport/_history")
    assert [etag for _, _, etag in told(answer)] == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']
    people = await lived.get("Patient/_history")
    assert told(people) == [("POST", "201 Created", 'W/"1"')]
    assert people.body["entry"][0]["request"]["url"] == "Patient"
    nothing = await lived.get("Observation/_history")
    assert (told(nothing), nothing.body["total"], "entry" in nothing.body) == ([], 0, False)


async def test_digits_come_back_as_they_were(service: Service) -> None:
    text = '{"resourceType":"Observation","id":"o1","valueQuantity":{"value":1.00}}'
    await service.request("PUT", "Observation/o1", data=text)
    await service.delete("Observation/o1")
    answer = await service.get("Observation/_history")
    assert answer.digits["entry"][1]["resource"]["valueQuantity"]["value"] == "1.00"


@pytest.mark.parametrize("path", [f"{PATH}/_history", "DiagnosticReport/_history"])
async def test_pages(lived: Service, path: str) -> None:
    whole = told(await lived.get(path))
    for size in (1, 2, 3, 4):
        pages = await lived.pages(await lived.get(f"{path}?_count={size}"))
        assert [one for page in pages for one in told(page)] == whole
        assert {page.body["total"] for page in pages} == {4}
        assert all(len(told(page)) == size for page in pages[:-1])
        assert "_count" not in "".join(page.links.get("next", "") for page in pages)
        if len(pages) > 1:
            assert told(await lived.get(pages[1].links["first"])) == whole[:size]
    counted = await lived.get(f"{path}?_count=0")
    assert (counted.body["total"], told(counted)) == (4, [])


async def test_pages_stay_as_they_are_while_others_write(lived: Service) -> None:
    first = await lived.get("DiagnosticReport/_history?_count=2")
    await lived.put(report(status="final"))
    await lived.put(report("another"))
    pages = await lived.pages(first)
    assert [etag for page in pages for _, _, etag in told(page)] == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']


@pytest.mark.parametrize("path", [f"{PATH}/_history", "DiagnosticReport/_history"])
@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("_since=2026-11-22T12:03:00Z", [4, 3]),
        ("_since=2026-11-22T12:03:00.001Z", [4]),
        ("_since=2026-11-22T14:03:00%2B02:00", [4, 3]),
        ("_since=2027-01-01T00:00:00Z", []),
        ("_at=2026-11-22T12:00:30Z", [1]),
        ("_at=2026-11-22T12:02:30Z", [2]),
        ("_at=2026-11-22T12:03:30Z", []),
        ("_at=2026-11-22", [4, 3, 2, 1]),
        ("_at=2027", [4]),
        ("_at=2025", []),
        ("_at=2026-11-22&_since=2026-11-22T12:02:00Z&_count=2&_format=json", [4, 3]),
    ],
)
async def test_since_and_at(lived: Service, path: str, query: str, versions: list[int]) -> None:
    answer = await lived.get(f"{path}?{query}")
    assert [etag for _, _, etag in told(answer)] == [f'W/"{number}"' for number in versions]


@pytest.mark.parametrize(
    "query",
    [
        "_since=2026-11-22",
        "_since=2026-11-22T12:00:00",
        "_since=2026-11-22T12:00:00+02:00",  # A raw plus is a space.
        "_since=",
        "_since=2026-11-22T12:00:00Z&_since=2026-11-22T12:00:00Z",
        "_at=yesterday",
        "_count=-1",
        "_count=x",
        "_sinse=2026-11-22T12:00:00Z",
        "_list=42",
        "status=final",
    ],
)
async def test_what_is_not_understood_is_refused(lived: Service, query: str) -> None:
    for path in (f"{PATH}/_history", "DiagnosticReport/_history"):
        answer = await lived.get(f"{path}?{query}")
        assert answer.status == 400
        assert set(answer.issues) == {("error", "invalid")}


async def test_what_never_was_has_no_history(lived: Service) -> None:
    is_refused(await lived.get("DiagnosticReport/never/_history"), 404, "not-found")
    is_refused(await lived.get("Observation/r1/_history"), 404, "not-found")
    is_refused(await lived.get("Nonsense/_history"), 404, "not-found")
    other = await lived.new_tenant()
    is_refused(await other.get(f"{PATH}/_history"), 404, "not-found")
    assert told(await other.get("DiagnosticReport/_history")) == []


async def test_a_page_link_is_for_its_own_history(lived: Service) -> None:
    link = (await lived.get(f"{PATH}/_history?_count=1")).links["next"]
    query = link.partition("?")[2]
    for path in ("DiagnosticReport/_history", "DiagnosticReport/r2/_history", "Patient/_history"):
        is_refused(await lived.get(f"{path}?{query}"), 400, "invalid")
    is_refused(await lived.get(f"DiagnosticReport?{query}"), 400, "invalid")
    is_refused(await lived.get(f"{link}&_since=2020-01-01T00:00:00Z"), 400, "invalid")
    search = (await lived.search("patient=p1&_count=0")).links
    assert "next" not in search
    other = await lived.new_tenant()
    is_refused(await other.get(f"{PATH}/_history?{query}"), 404, "not-found")
    lived.clock.move(days=9)
    is_refused(await lived.get(link), 410, "expired")


async def test_head(lived: Service) -> None:
    answer = await lived.request("HEAD", f"{PATH}/_history")
    assert (answer.status, answer.text) == (200, "")


async def test_who_may_see_a_history(lived: Service) -> None:
    for scope, of_instance, of_type in (
        ("system/DiagnosticReport.cruds", 200, 200),
        ("system/DiagnosticReport.rus", 200, 200),
        # It tells of every patient, and in this tenant searches must name theirs.
        ("system/DiagnosticReport.rs", 200, 403),
        ("system/DiagnosticReport.r", 200, 403),
        ("system/DiagnosticReport.cuds", 403, 403),
        ("system/Patient.cruds", 403, 403),
    ):
        token = await lived.with_token(scopes=[scope])
        assert (await token.get(f"{PATH}/_history")).status == of_instance, scope
        assert (await token.get("DiagnosticReport/_history")).status == of_type, scope


async def test_where_searches_are_not_bounded_histories_are_not(lived: Service) -> None:
    trusted = await lived.new_tenant(scopes=["system/*.rs"], search_scope=SearchScope.ANY)
    assert (await trusted.get("DiagnosticReport/_history")).status == 200


async def test_a_link_of_a_history_expires_as_the_policy_says(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=10 * 86_400) as service:
        for text in ("one", "two"):
            await service.load(report(conclusion=text))
        url = (await service.get(f"{PATH}/_history?_count=1")).links["next"]
        await service.keeps(Policy(page_token_days=2))
        service.clock.move(days=2, seconds=-1)
        assert (await service.get(url)).status == 200
        service.clock.move(seconds=1)
        assert (await service.get(url)).status == 410
