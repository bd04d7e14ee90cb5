"""Headers of documents, parts of them, and what `Accept` chooses."""

from __future__ import annotations

import pytest

from store.files import CHUNK_BYTES
from tests.api.interactions.binary.binaries import PDF, SMALL, TYPE, binary, get, url_of
from tests.support.service import FHIR, FHIR_UTF8, Service

# --- headers


@pytest.mark.parametrize("path", ["file", "Binary/b1"])
async def test_a_document_stays_away_from_caches_and_browsers(service: Service, path: str) -> None:
    url = await url_of(service) if path == "file" else path
    await service.put(binary(content=SMALL))
    headers = (await get(service, url)).headers
    assert headers["Content-Disposition"] == f'attachment; filename="{url.removeprefix("Binary/")}.pdf"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Accept-Ranges"] == "bytes"
    assert "Accept" in headers["Vary"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", TYPE),
        ("", TYPE),
        (TYPE, TYPE),
        ("text/html, */*;q=0.1", TYPE),
        ("application/json", TYPE),
        (FHIR, FHIR_UTF8),
        (f"{FHIR};fhirVersion=4.0", FHIR_UTF8),
        (f"text/html, {FHIR};q=0.5", FHIR_UTF8),
        (f"{FHIR};q=0, */*", TYPE),
        ("application/json+fhir", FHIR_UTF8),
    ],
)
async def test_who_gets_what(service: Service, accept: str, expected: str) -> None:
    await service.put(binary(content=SMALL))
    read = await get(service, "Binary/b1", accept=accept)
    assert (read.status, read.headers["Content-Type"]) == (200, expected)


async def test_format_wins_over_accept(service: Service) -> None:
    await service.put(binary(content=SMALL))
    assert (await get(service, "Binary/b1?_format=json", accept=TYPE)).headers["Content-Type"] == FHIR_UTF8
    assert (await get(service, "Binary/b1?_format=xml")).status == 406
    assert (await get(service, "Binary/b1", accept="application/fhir+xml")).status == 406


async def test_who_has_it_is_told_so(service: Service) -> None:
    url = await url_of(service)
    first = await get(service, url)
    again = await get(service, url, if_none_match=first.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert (await get(service, url, if_none_match='"9"')).status == 200


async def test_head_says_how_much_there_is(service: Service) -> None:
    url = await url_of(service)
    for headers in ({}, {"accept": FHIR}, {"range": "bytes=5-9"}):
        head, whole = await get(service, url, method="HEAD", **headers), await get(service, url, **headers)
        assert (head.status, head.body) == (whole.status, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body))


# --- ranges


RANGES: list[tuple[str, int, int]] = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-99", 0, 100),
    (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1),
    (f"bytes={CHUNK_BYTES}-", CHUNK_BYTES, len(PDF)),
    ("bytes=-1", len(PDF) - 1, len(PDF)),
    (f"bytes=5-{len(PDF) * 2}", 5, len(PDF)),
]


@pytest.mark.parametrize(("header", "start", "end"), RANGES)
async def test_a_part(service: Service, header: str, start: int, end: int) -> None:
    read = await get(service, await url_of(service), range=header)
    assert (read.status, read.body) == (206, PDF[start:end])
    assert read.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(PDF)}"
    assert (read.headers["Content-Length"], read.headers["Content-Type"]) == (str(end - start), TYPE)


@pytest.mark.parametrize(("header", "start", "end"), [("bytes=2-5", 2, 6), ("bytes=-3", -3, len(SMALL))])
async def test_a_part_of_a_small_one(service: Service, header: str, start: int, end: int) -> None:
    await service.put(binary(content=SMALL))
    read = await get(service, "Binary/b1", range=header)
    assert (read.status, read.body) == (206, SMALL[start:end])


async def test_a_part_beyond_the_end(service: Service) -> None:
    read = await get(service, await url_of(service), range=f"bytes={len(PDF)}-")
    assert (read.status, read.headers["Content-Range"]) == (416, f"bytes */{len(PDF)}")
    assert (read.headers["Content-Type"], read.json["resourceType"]) == (FHIR_UTF8, "OperationOutcome")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"range": "bytes=0-1", "if_range": '"1"'}, 206),
        ({"range": "bytes=0-1", "if_range": '"2"'}, 200),
        ({"range": "bytes=0-1", "if_range": 'W/"1"'}, 200),  # Weak tags do not join parts.
        ({"range": "bytes=0-1,5-6"}, 200),
        ({"range": "pages=1"}, 200),
        ({"range": "bytes=0-1", "accept": FHIR}, 200),
        ({"range": "bytes=0-1", "if_none_match": '"1"'}, 304),
    ],
)
async def test_when_a_part_is_given(service: Service, headers: dict[str, str], status: int) -> None:
    assert (await get(service, await url_of(service), **headers)).status == status


async def test_parts_make_the_whole(service: Service) -> None:
    url, step = await url_of(service), 300_007
    parts = [
        (await get(service, url, range=f"bytes={at}-{at + step - 1}")).body for at in range(0, len(PDF), step)
    ]
    assert b"".join(parts) == PDF
