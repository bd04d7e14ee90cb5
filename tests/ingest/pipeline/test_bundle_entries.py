"""Bundles taken apart."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.pipeline.bundle_entries import BundleEntry, Interaction, entries_of, interaction
from store.errors import Category
from tests.support.reports import refusal, said

BASE = "https://dod.example/fhir/R4/lab/Production"


def asking(resource: dict[str, Any] | None = None, **request: Any) -> BundleEntry:
    return BundleEntry(resource, None, request)


def test_entries() -> None:
    bundle: dict[str, Any] = {
        "entry": [{"fullUrl": "urn:uuid:1", "resource": {"a": 1}, "request": {"method": "PUT"}}, {}]
    }
    assert entries_of(bundle, entries_max=2) == [
        BundleEntry({"a": 1}, "urn:uuid:1", {"method": "PUT"}),
        BundleEntry(None, None, None),
    ]


@pytest.mark.parametrize("bundle", [{}, {"entry": []}])
def test_no_entries(bundle: dict[str, Any]) -> None:
    assert entries_of(bundle, entries_max=1) == []


def test_entries_are_bounded() -> None:
    bundle: dict[str, Any] = {"entry": [{}] * 4}
    assert len(entries_of(bundle, entries_max=4)) == 4
    error = refusal(lambda: entries_of(bundle, entries_max=3))
    assert error.category is Category.TOO_LARGE
    assert [issue.text for issue in error.issues] == ["a Bundle may have at most 3 entries"]


@pytest.mark.parametrize(
    ("entry", "paths"),
    [
        pytest.param("Doe", ["Bundle.entry"], id="text for the list"),
        pytest.param({"Doe": 1}, ["Bundle.entry"], id="object for the list"),
        pytest.param(["Doe", {}, 7], ["Bundle.entry[0]", "Bundle.entry[2]"], id="every wrong entry"),
        pytest.param([{"resource": "Doe"}], ["Bundle.entry[0].resource"], id="resource"),
        pytest.param([{"request": ["Doe"]}], ["Bundle.entry[0].request"], id="request"),
        pytest.param([{"fullUrl": 7}], ["Bundle.entry[0].fullUrl"], id="fullUrl"),
    ],
)
def test_wrong_shapes_are_all_named(entry: Any, paths: list[str]) -> None:
    error = refusal(lambda: entries_of({"entry": entry}, entries_max=9))
    assert error.category is Category.UNPROCESSABLE
    assert [issue.expression for issue in error.issues] == [(path,) for path in paths]
    assert "Doe" not in said(error)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            {"method": "POST", "url": "Patient"},
            Interaction("POST", "Patient", None, None, None),
            id="create",
        ),
        pytest.param(
            {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=1"},
            Interaction("POST", "Patient", None, None, "identifier=1"),
            id="conditional create",
        ),
        pytest.param(
            {"method": "PUT", "url": "/Patient/p.1-A"},
            Interaction("PUT", "Patient", "p.1-A", None, None),
            id="update",
        ),
        pytest.param(
            {"method": "GET", "url": "Patient/" + "a" * 64},
            Interaction("GET", "Patient", "a" * 64, None, None),
            id="longest id",
        ),
        pytest.param(
            {"method": "PUT", "url": "Patient?name=A&_id=1"},
            Interaction("PUT", "Patient", None, None, None, query="name=A&_id=1"),
            id="conditional",
        ),
        pytest.param(
            {"method": "GET", "url": "Patient?"},
            Interaction("GET", "Patient", None, None, None),
            id="nothing is asked",
        ),
        pytest.param(
            {"method": "PUT", "url": f"{BASE}/Patient/1"},
            Interaction("PUT", "Patient", "1", None, None),
            id="absolute, ours",
        ),
        pytest.param(
            {"method": "POST", "url": f"{BASE}/Patient"},
            Interaction("POST", "Patient", None, None, None),
            id="absolute, ours, a type",
        ),
        pytest.param(
            {"method": "DELETE", "url": f"{BASE}/Patient?identifier=http://a.test/x|1"},
            Interaction("DELETE", "Patient", None, None, None, query="identifier=http://a.test/x|1"),
            id="absolute, ours, a condition",
        ),
        pytest.param(
            {"method": "GET", "url": "/fhir/R4/lab/Production/Patient/1"},
            Interaction("GET", "Patient", "1", None, None),
            id="our path without its server",
        ),
        pytest.param(
            {"method": "GET", "url": "Patient?identifier=http://a.test/x|1"},
            Interaction("GET", "Patient", None, None, None, query="identifier=http://a.test/x|1"),
            id="a colon in a search",
        ),
        pytest.param(
            {"method": "GET", "url": "Patient/1/_history/2"},
            Interaction("GET", "Patient", "1", None, None, version=2),
            id="a version",
        ),
        pytest.param(
            {"method": "HEAD", "url": f"{BASE}/Patient/1/_history/999999999"},
            Interaction("HEAD", "Patient", "1", None, None, version=999999999),
            id="a version, absolute",
        ),
        *(
            pytest.param(
                {"method": method, "url": url},
                Interaction(method, "Observation", None, None, None, query=query),
                id=f"{method} {url}",
            )
            for method in ("GET", "HEAD")
            for url, query in (
                ("Observation/_search", None),
                ("Observation/_search?code=1&code=2", "code=1&code=2"),
                ("Patient/p.1/Observation", "patient=Patient/p.1"),
                ("/Patient/p.1/Observation?", "patient=Patient/p.1"),
                (f"{BASE}/Patient/p.1/Observation?code=1", "patient=Patient/p.1&code=1"),
            )
        ),
    ],
)
def test_interaction(request_: dict[str, Any], expected: Interaction) -> None:
    assert interaction(asking(**request_), base=BASE) == expected


_FOREIGN = "`request.url` is another server's: entries are about this one, such as `Patient/123`"
_PAST = "`request.url` with a version goes with GET; what is changed is the current one (`ifMatch`)"
_NEEDED = "`request.method` and a `request.url` such as `Patient/123` are needed"
_READS = (
    "`request.url` of a GET is a read or a search: `Type/id`, `Type/id/_history/version`,"
    " `Type?name=value`, `Patient/id/Type?name=value`; histories and operations are asked for by"
    " themselves, not in a Bundle"
)
_SEARCHES = "a search in a Bundle is a GET: its parameters stand in `request.url`, `Type?name=value`"
_APART = "a Subscription is read and searched by itself, not in a Bundle: this would find none"
_NOT_ENDED = "a Subscription is changed and ended by itself, not in a Bundle: this would find none"
_NOT_IN = "`request.url` names a type that is not in the compartment of a Patient here"


@pytest.mark.parametrize(
    ("request_", "text", "category"),
    [
        pytest.param({}, _NEEDED, Category.UNPROCESSABLE, id="empty"),
        pytest.param({"url": "Patient"}, _NEEDED, Category.UNPROCESSABLE, id="no method"),
        pytest.param({"method": "GET"}, _NEEDED, Category.UNPROCESSABLE, id="no url"),
        pytest.param({"method": "GET", "url": "doe/1"}, _READS, Category.UNPROCESSABLE, id="no type"),
        pytest.param({"method": "GET", "url": "Patient/a_b"}, _READS, Category.UNPROCESSABLE, id="no id"),
        pytest.param(
            {"method": "GET", "url": "Patient/" + "a" * 65}, _READS, Category.UNPROCESSABLE, id="long id"
        ),
        *(
            pytest.param({"method": "GET", "url": url}, _FOREIGN, Category.UNPROCESSABLE, id=url)
            for url in (
                "http://a.test/Patient/doe",
                "//a.test/Patient/doe",
                "http://dod.example/fhir/R4/lab/Production/Patient/doe",
                f"{BASE}x/Patient/doe",
                "https://dod.example/fhir/R4/other/Production/Patient/doe",
                "urn:uuid:doe",
                "javascript:doe",
            )
        ),
        *(
            pytest.param({"method": "GET", "url": url}, _READS, Category.UNPROCESSABLE, id=url)
            for url in (
                f"{BASE}//Patient/doe",
                f"{BASE}/../doe",
                "/fhir/R4/other/Production/Patient/doe",
                "Patient/doe/_history",
                "Patient/doe/_history/0",
                "Patient/doe/_history/v1",
                "Patient/_history/1",
                "Patient/doe/$everything",
                "Encounter/doe/DiagnosticReport",
                "metadata",
            )
        ),
        pytest.param({"method": "GET", "url": f"{BASE}/"}, _NEEDED, Category.UNPROCESSABLE, id="the base"),
        *(
            pytest.param({"method": "GET", "url": f"Patient/doe/{name}"}, _NOT_IN, Category.UNPROCESSABLE)
            for name in ("Practitioner", "Doe")
        ),
        *(
            pytest.param({"method": "GET", "url": url}, _APART, Category.UNPROCESSABLE, id=url)
            for url in ("Subscription/doe", "Subscription?status=active", "Subscription/_search")
        ),
        *(
            pytest.param({"method": method, "url": url}, _NOT_ENDED, Category.UNPROCESSABLE)
            for method in ("DELETE", "PATCH")
            for url in ("Subscription/doe", "Subscription?url=doe", f"{BASE}/Subscription/doe")
        ),
        *(
            pytest.param({"method": "POST", "url": url}, _SEARCHES, Category.UNPROCESSABLE, id=f"POST {url}")
            for url in ("Patient/_search?name=doe", "Patient/doe/Observation")
        ),
        *(
            pytest.param({"method": method, "url": "Patient/doe/_history/1"}, _PAST, Category.UNPROCESSABLE)
            for method in ("PUT", "DELETE", "PATCH", "POST")
        ),
        pytest.param({"method": "GET", "url": "../Patient/1"}, _READS, Category.UNPROCESSABLE, id="upwards"),
        pytest.param(
            {"method": "PUT", "url": "patient?name=Doe"},
            _NEEDED,
            Category.UNPROCESSABLE,
            id="no value is told",
        ),
        pytest.param(
            {"method": 7, "url": "Patient"},
            "`Bundle.entry.request.method` must be a string",
            Category.UNPROCESSABLE,
            id="number for a method",
        ),
    ],
)
def test_interaction_is_refused_with_the_rule(
    request_: dict[str, Any], text: str, category: Category
) -> None:
    error = refusal(lambda: interaction(asking(**request_), base=BASE))
    assert error.category is category
    assert [issue.text for issue in error.issues] == [text]
    assert "doe" not in said(error)


def test_an_entry_without_request_asks_for_nothing() -> None:
    error = refusal(lambda: interaction(BundleEntry({}, None, None), base=BASE))
    assert [issue.text for issue in error.issues] == ["`request` is missing"]
