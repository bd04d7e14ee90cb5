"""Formats that a client may ask for, and bodies that it may send."""

from __future__ import annotations

import gzip

import pytest
from multidict import CIMultiDict

from api.http.fhir_json import accepts_json
from api.settings.service import Settings
from tests.support.edge import LAB_BASE, bearer, memory_access, serving

REPORTS = f"{LAB_BASE}/DiagnosticReport"
BODY = b'{"resourceType":"DiagnosticReport"}'


@pytest.mark.parametrize(
    ("accept", "allowed"),
    [
        ("", True),
        ("*/*", True),
        ("application/fhir+json", True),
        ("application/fhir+json; fhirVersion=4.0", True),
        ("application/fhir+json; fhirVersion=5.0", False),
        ("application/json;q=0.9", True),
        ("Application/JSON", True),
        ("application/*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/fhir+xml", False),
        ("application/fhir+xml, application/fhir+json;q=0", False),
        ("application/fhir+xml, application/fhir+json;q=0.0", False),
        ("text/html", False),
        ("nonsense", False),
    ],
)
def test_accept(accept: str, allowed: bool) -> None:
    assert accepts_json(accept) is allowed


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("", "application/fhir+json", 200),
        ("", "application/fhir+xml", 406),
        ("?_format=json", "application/fhir+xml", 200),
        ("?_format=application/fhir+json", "*/*", 200),
        ("?_format=application%2Ffhir%2Bjson", "*/*", 200),
        ("?_format=xml", "application/fhir+json", 406),
        ("?_format=", "*/*", 200),
    ],
)
async def test_only_json_is_served(query: str, accept: str, status: int) -> None:
    access = memory_access()
    async with serving(access) as client:
        response = await client.get(REPORTS + query, headers={**bearer(access), "Accept": accept})
        assert response.status == status
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/fhir+json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json; charset=latin-1", 415),
        ("application/fhir+ndjson", 415),
        ("application/fhir+xml", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_content_type_of_a_pushed_body(content_type: str, status: int) -> None:
    access = memory_access()
    async with serving(access) as client:
        headers = {**bearer(access), "Content-Type": content_type}
        response = await client.post(REPORTS, data=BODY, headers=headers)
        assert response.status == status
        if status == 415:
            assert (await response.json())["issue"][0]["code"] == "not-supported"


async def test_a_search_form_is_a_form() -> None:
    access = memory_access()
    async with serving(access) as client:
        headers = {**bearer(access), "Content-Type": "application/fhir+json"}
        refused = await client.post(f"{REPORTS}/_search", data=BODY, headers=headers)
        taken = await client.post(f"{REPORTS}/_search", data={"code": "x"}, headers=bearer(access))
        empty = await client.post(f"{REPORTS}/_search", headers=bearer(access))
        assert [refused.status, taken.status, empty.status] == [415, 200, 200]


async def test_an_encoding_we_decode_and_one_we_do_not() -> None:
    access = memory_access()
    async with serving(access) as client:
        headers = {**bearer(access), "Content-Type": "application/fhir+json"}
        zipped = await client.post(
            REPORTS, data=gzip.compress(BODY), headers={**headers, "Content-Encoding": "gzip"}
        )
        unknown = await client.post(REPORTS, data=BODY, headers={**headers, "Content-Encoding": "compress"})
        assert (zipped.status, await zipped.read()) == (200, BODY)
        assert unknown.status == 415
        for first, second in (("identity", "gzip"), ("gzip", "identity"), ("gzip", "gzip")):
            fields = [*headers.items(), ("Content-Encoding", first), ("Content-Encoding", second)]
            twice = await client.post(REPORTS, data=gzip.compress(BODY), headers=CIMultiDict(fields))
            assert twice.status == 415, "one of two codings would be taken for the whole"


@pytest.mark.parametrize(("size", "status"), [(10_000, 200), (10_001, 413)])
@pytest.mark.parametrize("zipped", [False, True])
async def test_bodies_are_bounded_after_decoding(size: int, status: int, zipped: bool) -> None:
    access = memory_access()
    async with serving(access, settings=Settings(body_bytes_max=10_000)) as client:
        headers = {**bearer(access), "Content-Type": "application/fhir+json"}
        body = b"x" * size
        if zipped:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
            assert len(body) < 100
        response = await client.post(REPORTS, data=body, headers=headers)
        assert response.status == status
        if status == 413:
            assert (await response.json())["issue"][0]["code"] == "too-long"


async def test_a_body_that_cannot_be_decoded_is_the_senders_fault() -> None:
    access = memory_access()
    async with serving(access) as client:
        headers = {
            **bearer(access),
            "Content-Type": "application/fhir+json",
            "Content-Encoding": "gzip",
        }
        response = await client.post(REPORTS, data=b"not gzip at all", headers=headers)
        assert response.status == 400
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert (await response.json())["issue"][0]["code"] == "structure"
