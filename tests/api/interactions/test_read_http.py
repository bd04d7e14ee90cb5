"""Reading over HTTP: the bytes, the headers that let a client keep them, and what is not there."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from api.search.subset import cut_as_asked
from ingest.http.answer_room import SMALL_BYTES
from tests.support.fhir import report, resource
from tests.support.service import FHIR, FHIR_UTF8, Answer, Service

PATH = "DiagnosticReport/r1"
NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


def is_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8)
    assert answer.issues == [("error", code)]


@pytest.fixture
async def stored(service: Service) -> Service:
    """A tenant with a report of noon."""
    await service.load(report())
    return service


async def test_a_read(stored: Service) -> None:
    answer = await stored.get(PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8)
    assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == ('W/"1"', NOON)
    assert answer.body == {**report(), "meta": {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"}}


async def test_a_trailing_slash_is_forgiven(stored: Service) -> None:
    assert (await stored.request("GET", f"{stored.base}/{PATH}/")).status == 200


async def test_head_is_a_read_without_its_body(stored: Service) -> None:
    answer = await stored.request("HEAD", PATH)
    whole = await stored.get(PATH)
    assert (answer.status, answer.text, answer.headers["ETag"]) == (200, "", 'W/"1"')
    assert answer.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": 'W/"1"'}, 304),
        ({"if_none_match": '"1"'}, 304),
        ({"if_none_match": 'W/"9", W/"1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": 'W/"2"'}, 200),
        ({"if_none_match": "nonsense"}, 200),
        ({"if_modified_since": NOON}, 304),
        ({"if_modified_since": "Sun, 22 Nov 2026 12:00:01 GMT"}, 304),
        ({"if_modified_since": "Sun, 22 Nov 2026 11:59:59 GMT"}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_modified_since": "Fri, 31 Dec 9999 23:59:59 GMT"}, 304),
        ({"if_modified_since": "Fri, 31 Dec 9999 23:59:59 -1400"}, 304),
        ({"if_modified_since": "Mon, 01 Jan 0001 00:00:00 +1400"}, 200),
        ({"if_modified_since": f"Mon, 01 Jan {10**20} 00:00:00 GMT"}, 200),
        ({"if_modified_since": f"Mon, 01 Jan 2026 00:00:00 +{10**20}"}, 200),
        # RFC 9110: `If-Modified-Since` is ignored beside `If-None-Match`.
        ({"if_none_match": 'W/"2"', "if_modified_since": NOON}, 200),
        ({"if_none_match": 'W/"1"', "if_modified_since": "Sun, 22 Nov 2026 11:59:59 GMT"}, 304),
    ],
)
async def test_a_client_that_has_it_is_told_so(stored: Service, headers: dict[str, str], status: int) -> None:
    answer = await stored.get(PATH, **headers)
    assert (answer.status, answer.text == "") == (status, status == 304)
    assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == ('W/"1"', NOON)


async def test_a_date_of_http_hides_no_later_version_of_its_second(stored: Service) -> None:
    """A preliminary report may be final within the second in which somebody read it."""
    stored.clock.move(milliseconds=700)
    await stored.load(report(status="amended"))
    later = await stored.get(PATH, if_modified_since=NOON)
    assert (later.status, later.headers["Last-Modified"], later.body["status"]) == (200, NOON, "amended")
    assert (await stored.get(PATH, if_modified_since="Sun, 22 Nov 2026 12:00:01 GMT")).status == 304
    moments = {"12:00:00Z": "200", "12:00:00.699Z": "200", "12:00:00.700Z": "304", "12:00:01Z": "304"}
    for kind in ("batch", "transaction"):
        asked = [{"method": "GET", "url": PATH, "ifModifiedSince": f"2026-11-22T{at}"} for at in moments]
        entry = [{"request": one} for one in asked]
        answer = await stored.request("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entry})
        found = [one["response"]["status"][:3] for one in answer.body["entry"]]
        assert found == list(moments.values()), kind


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("_summary=true", {"code", "subject"}, {"conclusion"}),
        ("_summary=text", {"text", "code"}, {"conclusion", "subject"}),
        ("_summary=data", {"conclusion"}, {"text"}),
        ("_summary=false", {"conclusion", "text"}, set()),
        ("_elements=conclusion", {"conclusion", "status", "code"}, {"text", "subject"}),
        ("_elements=&_summary=&_pretty=true", {"conclusion", "text"}, set()),
    ],
)
async def test_a_part_is_shown_as_in_a_search(
    stored: Service, query: str, there: set[str], gone: set[str]
) -> None:
    div = "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>"
    await stored.put(report(conclusion="y", text={"status": "generated", "div": div}))
    for path in (PATH, f"{PATH}/_history/2"):
        answer = await stored.get(f"{path}?{query}")
        assert (answer.status, answer.headers["ETag"]) == (200, 'W/"2"')
        assert there <= answer.body.keys()
        assert gone.isdisjoint(answer.body)
        assert ("tag" in answer.body["meta"]) == bool(gone)
        found = await stored.search(f"_id=r1&{query}")
        assert found.matches[0]["resource"] == answer.body


@pytest.mark.parametrize(
    "query", ["_summary=some", "_summary=count", "_elements=a.b", "_elements=code&_summary=true"]
)
async def test_a_part_that_there_is_not_is_refused(stored: Service, query: str) -> None:
    is_refused(await stored.get(f"{PATH}?{query}"), 400, "invalid")


async def test_a_large_resource_is_cut_down_beside_the_event_loop(
    stored: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(*args: Any) -> bytes:
        threads.append(threading.current_thread())
        return cut_as_asked(*args)

    monkeypatch.setattr("api.interactions.read.cut_as_asked", noted)
    await stored.put(report(conclusion="y" * SMALL_BYTES))
    answer = await stored.get(f"{PATH}?_summary=true")
    assert (answer.status, "conclusion" in answer.body) == (200, False)
    assert threading.main_thread() not in threads
    assert threads


async def test_what_was_never_there(stored: Service) -> None:
    for path in ("DiagnosticReport/r2", "Observation/r1", "DiagnosticReport/R1", f"{PATH}/_history/2"):
        is_refused(await stored.get(path), 404, "not-found")


async def test_what_is_no_path(stored: Service) -> None:
    for path in (
        "DiagnosticReport/under_score",
        f"DiagnosticReport/{'x' * 65}",
        f"{PATH}/_history/0",
        "diagnosticreport/r1",
    ):
        is_refused(await stored.get(path), 404, "not-found")


async def test_another_tenant_s_is_not_there(stored: Service) -> None:
    other = await stored.new_tenant()
    for path in (PATH, f"{PATH}/_history/1"):
        is_refused(await other.get(path), 404, "not-found")


async def test_what_was_deleted_is_gone_and_can_come_back(stored: Service) -> None:
    deleted = await stored.delete(PATH)
    assert (deleted.status, deleted.text, deleted.headers["ETag"]) == (204, "", 'W/"2"')
    is_refused(await stored.get(PATH), 410, "deleted")
    again = await stored.delete(PATH)
    assert (again.status, again.headers["ETag"]) == (204, 'W/"2"')
    assert (await stored.search("patient=p1")).body["total"] == 0
    revived = await stored.put(report())
    assert (revived.status, revived.headers["ETag"]) == (201, 'W/"3"')
    assert (await stored.get(PATH)).status == 200
    assert (await stored.delete("DiagnosticReport/never")).status == 204


async def test_each_version_is_read_by_its_number(stored: Service) -> None:
    stored.clock.move(minutes=1)
    await stored.put(report(status="amended"))
    await stored.delete(PATH)
    await stored.put(report(status="corrected"))
    first = await stored.get(f"{PATH}/_history/1")
    assert (first.status, first.headers["ETag"], first.headers["Last-Modified"]) == (200, 'W/"1"', NOON)
    assert (first.body["status"], first.body["meta"]["versionId"]) == ("final", "1")
    assert (await stored.get(f"{PATH}/_history/2")).body["status"] == "amended"
    is_refused(await stored.get(f"{PATH}/_history/3"), 410, "deleted")
    current = await stored.get(f"{PATH}/_history/4")
    assert (current.headers["ETag"], current.body["status"]) == ('W/"4"', "corrected")
    is_refused(await stored.get(f"{PATH}/_history/5"), 404, "not-found")


async def test_last_updated_strictly_increases_though_the_clock_stands_still(stored: Service) -> None:
    seen = [(await stored.get(PATH)).body["meta"]["lastUpdated"]]
    seen += [
        (await stored.put(report(status=status))).body["meta"]["lastUpdated"]
        for status in ("amended", "corrected")
    ]
    stored.clock.move(hours=-1)
    seen.append((await stored.put(report())).body["meta"]["lastUpdated"])
    assert seen == [f"2026-11-22T12:00:00.00{n}Z" for n in range(4)]


async def test_types_that_travel_along_are_read_too(service: Service) -> None:
    for type in ("Patient", "Observation", "Provenance", "Medication", "Binary", "Task"):
        await service.load(resource(type, "x1"))
        read = await service.get(f"{type}/x1", accept=FHIR)
        assert (read.status, read.body["resourceType"], read.headers["ETag"]) == (200, type, 'W/"1"')


async def test_who_may_read(stored: Service) -> None:
    searcher = await stored.with_token(scopes=["system/DiagnosticReport.s", "system/Patient.r"])
    is_refused(await searcher.get(PATH), 403, "forbidden")
    is_refused(await searcher.get(f"{PATH}/_history/1"), 403, "forbidden")
    stranger = Service(stored.client, stored.clock, stored.tenant)
    is_refused(await stranger.get(PATH), 401, "login")
    stored.clock.move(days=31)
    is_refused(await stored.get(PATH), 401, "expired")
