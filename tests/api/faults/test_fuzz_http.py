"""Requests nobody thought of: never a 5xx, never a value in an error, a header or the log.

Types and parameters are drawn from the served `/metadata`. `FUZZ_EXAMPLES=20000` makes it a soak test.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.tenancy import SearchScope
from tests.api.faults.odd_requests import (
    CANARY,
    RESULT,
    TYPES_OF_BODY,
    Row,
    headers_of,
    names,
    searches,
    segments,
    wild,
)
from tests.support.lines import logged
from tests.support.service import FHIR_UTF8, FORM, Answer, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "150"))

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# --- what is looked at


def check(answer: Answer, lines: list[bytes]) -> None:
    """Rules that hold for every answer."""
    assert answer.status < 500, answer.text
    assert CANARY.lower() not in repr(dict(answer.headers)).lower()
    assert "X-Injected" not in answer.headers
    for line in lines:
        assert CANARY.lower().encode() not in line.lower()
        assert b'"level":"ERROR"' not in line
    if answer.status >= 400:
        assert CANARY.lower() not in answer.text.lower()
        check_outcome(answer)


def check_outcome(answer: Answer) -> None:
    assert answer.headers["Content-Type"] == FHIR_UTF8
    body = answer.body
    assert body.keys() == {"resourceType", "issue"}
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"]
    for issue in body["issue"]:
        always = {"severity", "code", "details", "diagnostics"}
        assert always <= issue.keys() <= {*always, "expression"}
        assert issue["severity"] in {"error", "information"}
        assert re.fullmatch(r"[a-z-]+", issue["code"])
        assert issue["details"]["text"].strip()
        assert all(issue.get("expression", ["x"]))


def check_searchset(answer: Answer, row: Row) -> None:
    """A searchset whose `self` has only what was understood, and nothing else that the client sent."""
    body = answer.body
    assert (body["resourceType"], body["type"]) == ("Bundle", "searchset")
    assert CANARY not in str(body.get("entry", []))
    links = answer.links
    for name, value in parse_qsl(urlsplit(links.pop("self")).query, keep_blank_values=True):
        assert value
        base = re.split(r"[:.]", name)[0]
        assert base in row.parameters or base == "_has" or name in RESULT, name
    assert CANARY not in str(links)


# --- the service


@pytest.fixture(scope="module")
async def live(mongodb: str) -> AsyncIterator[Service]:
    """Service for all examples, with something in it to find."""
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
        subject = {"reference": "Patient/p1"}
        code = {"coding": [{"system": "http://loinc.test", "code": "58410-2", "display": "made up"}]}
        about: dict[str, Any] = {"subject": subject, "code": code, "status": "final"}
        report = {"resourceType": "DiagnosticReport", **about, "effectiveDateTime": "2026-03-02"}
        await service.load(
            {"resourceType": "Patient", "id": "p1", "name": [{"family": "Made"}], "birthDate": "1970-01-02"},
            {
                "resourceType": "Observation",
                "id": "o1",
                **about,
                "valueQuantity": {"value": 5.4, "unit": "mg"},
            },
            {**report, "id": "r1", "result": [{"reference": "Observation/o1"}]},
            {**report, "id": "r2"},
            {**report, "id": "gone"},
        )
        await service.delete("DiagnosticReport/gone")
        yield service


@pytest.fixture(scope="module")
async def rows(live: Service) -> Mapping[str, Row]:
    """The types with parameters of their own, and one without."""
    [rest] = (await live.get("metadata")).body["rest"]
    found = {
        row["type"]: Row(row["type"], {one["name"]: one["type"] for one in row["searchParam"]})
        for row in rest["resource"]
    }
    fewest = min(len(row.parameters) for row in found.values())
    return {name: row for name, row in found.items() if len(row.parameters) > fewest or name == "Basic"}


# --- the tests


@fuzzed
@given(data=st.data())
async def test_any_search(live: Service, rows: Mapping[str, Row], data: st.DataObject) -> None:
    row = rows[data.draw(st.sampled_from(["DiagnosticReport", *sorted(rows)]))]
    text = data.draw(searches(rows, row))
    headers = data.draw(headers_of)
    way = data.draw(st.sampled_from(["get", "get-alias", "post", "compartment", "HEAD"]))
    with logged(logging.INFO) as lines:
        if way == "post":
            kind = data.draw(st.sampled_from((FORM,) * 6 + TYPES_OF_BODY))
            path = f"{row.name}/_search"
            answer = await live.request("POST", path, data=text, content_type=kind, headers=headers)
        else:
            before = {"get-alias": "/_search"}.get(way, "")
            start = "Patient/p1/" if way == "compartment" else ""
            method = "HEAD" if way == "HEAD" else "GET"
            answer = await live.request(method, f"{start}{row.name}{before}?{text}", headers=headers)
    if way == "HEAD":
        assert answer.status < 500
        assert not answer.text
        return
    check(answer, lines.raw)
    assert answer.status in {200, 400, 404, 406, 410, 413, 415}, answer.text
    if answer.status == 200:
        check_searchset(answer, row)


@fuzzed
@given(data=st.data())
async def test_what_is_refused_is_named(live: Service, rows: Mapping[str, Row], data: st.DataObject) -> None:
    row = rows[data.draw(st.sampled_from(["DiagnosticReport", *sorted(rows)]))]
    name, kind = data.draw(names(rows, row).filter(lambda drawn: drawn[1] != "result"))
    value = data.draw(wild(kind))
    with logged(logging.INFO) as lines:
        answer = await live.search(
            f"{quote(name, safe=':$')}={quote(value)}", type=row.name, prefer="handling=strict"
        )
    check(answer, lines.raw)
    assert answer.status in {200, 400}
    if answer.status == 400 and "UTF-8" not in answer.texts:
        [issue] = answer.body["issue"]
        assert issue["expression"] in ([name], ["(unreadable name)"])


@fuzzed
@given(data=st.data())
async def test_any_page_link(live: Service, data: st.DataObject) -> None:
    first = await live.search(f"code:text={CANARY},made&_count=1")
    token = first.links["next"].partition("_page=")[2]
    # Not drawn by its length, which varies: an example that is tried again must draw as before.
    at = data.draw(st.integers(0, 999)) * len(token) // 1_000
    drawn = data.draw(st.sampled_from(["", "A", "-", "_", "=", "%00", "%ff", "+", "é", CANARY, None]))
    put = token if drawn is None else drawn
    until = {"put": at, "swap": at + 1, "cut": len(token)}[data.draw(st.sampled_from(["put", "swap", "cut"]))]
    changed = token[:at] + (put if "%" in put else quote(put)) + token[until:]
    more = data.draw(st.sampled_from(["", "&_count=2", f"&code={CANARY}", "&_page=", "&_format=json"]))
    type_ = data.draw(st.sampled_from(["DiagnosticReport", "Patient"]))
    with logged(logging.INFO) as lines:
        answer = await live.get(f"{type_}?_page={changed}{more}")
    check(answer, lines.raw)
    whole = changed == token and more in ("", "&_count=2", "&_format=json") and type_ == "DiagnosticReport"
    assert (answer.status == 200) is (whole or (not changed and not more.startswith("&code")))
    if answer.status != 200:
        assert answer.status in {400, 404, 410}
        assert "_page" in str(answer.body) or "UTF-8" in answer.texts


@fuzzed
@given(
    method=st.sampled_from(["GET", "GET", "GET", "DELETE", "POST", "PATCH", "OPTIONS", "NONSENSE"]),
    start=st.sampled_from(["Patient", "DiagnosticReport", "Nonsense", "patient", "", "$process-message"]),
    path=st.lists(
        segments | st.sampled_from(["_history", "DiagnosticReport", "1", "0", "9" * 12]), max_size=4
    ),
    headers=headers_of,
)
async def test_any_path(
    live: Service, method: str, start: str, path: list[str], headers: Mapping[str, str]
) -> None:
    if method == "DELETE":
        path = [*path, "nothing"]  # What the other tests find stays.
    with logged(logging.INFO) as lines:
        answer = await live.request(method, "/".join([start, *path]), headers=headers)
    check(answer, lines.raw)


@fuzzed
@given(data=st.data())
async def test_any_condition(live: Service, rows: Mapping[str, Row], data: st.DataObject) -> None:
    """Searches that are written in a header, and in the entries of a batch."""
    text = data.draw(searches(rows, rows["DiagnosticReport"]).filter(lambda text: len(text) < 6_000))
    body = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}}
    with logged(logging.INFO) as lines:
        if data.draw(st.booleans()):
            condition = {"If-None-Exist": text, **data.draw(headers_of)}
            answer = await live.request("POST", "DiagnosticReport", body, headers=condition)
            check(answer, lines.raw)
            return
        method = data.draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", CANARY]))
        before = data.draw(
            st.sampled_from(["DiagnosticReport?", "Patient/p1/DiagnosticReport?", "?", "/", "//[", ""])
        )
        request = {"method": method, "url": before + text, "ifNoneExist": text, "ifMatch": CANARY}
        bundle = {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": request, "resource": body}],
        }
        answer = await live.request("POST", "", bundle)
    check(answer, lines.raw)
    assert answer.status == 200
    [entry] = answer.body["entry"]
    assert int(entry["response"]["status"][:3]) < 500
    if "resource" not in entry:
        assert CANARY not in answer.text
