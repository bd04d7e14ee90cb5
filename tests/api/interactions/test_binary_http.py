"""Documents over HTTP: pushed inside resources, as Binary or as they are; read whole, in part, or as FHIR."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError

from api.background.file_collection import collect_tenant
from api.commands.files.collect_files import collect_files
from api.http.app_keys import DEAD_LETTERS, POLICIES
from ingest.http.app_keys import ATTACHMENTS, RESOURCES
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.files import CHUNK_BYTES, FILE_ID
from store.stores import Stores
from tests.support.edge import edge_stores
from tests.support.fhir import Json, batch, message, patient, report
from tests.support.service import FHIR, FHIR_UTF8, Answer, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from store.files import File
    from store.tenancy import Tenant

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 1_000 + b"\x00\xff made up \xfe" + bytes(CHUNK_BYTES)
"""Longer than a chunk, and no text."""
SMALL = b"%PDF-1.7\n\x00\xff small"
TYPE = "application/pdf"
HASH = b64encode(sha1(PDF, usedforsecurity=False).digest()).decode()


def form(content: bytes = PDF, **elements: Any) -> Json:
    return {"contentType": TYPE, "title": "Made up", "data": b64encode(content).decode(), **elements}


def with_form(id: str = "r1", content: bytes = PDF, **elements: Any) -> Json:
    return report(id, presentedForm=[form(content)], **elements)


def binary(id: str = "b1", content: bytes = PDF, **elements: Any) -> Json:
    data = b64encode(content).decode()
    return {"resourceType": "Binary", "id": id, "contentType": TYPE, "data": data, **elements}


@dataclass(frozen=True, slots=True)
class Got:
    """A response whose body is bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def get(service: Service, path: str, *, method: str = "GET", **headers: str) -> Got:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    where = service.client.make_url(f"{service.root}/{path}")
    async with service.client.session.request(
        method, where, headers={**service.headers, **named}
    ) as response:
        return Got(response.status, response.headers, await response.read())


async def url_of(service: Service, resource: Json | None = None) -> str:
    """Place where the document of a report went."""
    answer = await service.put(resource or with_form())
    assert answer.status in (200, 201), answer.text
    [stored] = answer.body["presentedForm"]
    return str(stored["url"])


def stores_of(service: Service) -> Stores:
    app = service.client.app
    assert app is not None

    async def ping() -> None: ...

    return replace(
        edge_stores(service.access, ping),
        resources=app[RESOURCES],
        attachments=app[ATTACHMENTS],
        dead_letters=app[DEAD_LETTERS],
        policies=app[POLICIES],
    )


async def orphans(service: Service) -> int:
    """Number of files that go, an hour and more from now."""
    later = service.clock() + timedelta(hours=2)
    return (await collect_tenant(stores_of(service), service.tenant, now=later))[1]


# --- a document leaves its resource


async def test_a_long_document_comes_back_as_a_binary(service: Service) -> None:
    answer = await service.put(with_form())
    [stored] = answer.body["presentedForm"]
    url = stored.pop("url")
    assert stored == {"contentType": TYPE, "title": "Made up", "size": len(PDF), "hash": HASH}
    assert url.startswith("Binary/")
    assert FILE_ID.fullmatch(url.removeprefix("Binary/"))
    read = await get(service, url)
    assert (read.status, read.headers["Content-Type"], read.body) == (200, TYPE, PDF)


async def test_a_short_one_stays(service: Service) -> None:
    answer = await service.put(with_form(content=SMALL))
    assert answer.body["presentedForm"] == [form(SMALL)]
    assert await orphans(service) == 0


async def test_the_threshold_is_a_setting(mongodb: str) -> None:
    async with opened_service(mongodb, attachment_inline_bytes_max=1_024) as service:
        at_limit, beyond = bytes(768), bytes(769)
        assert len(b64encode(at_limit)) == 1_024
        for content, moved in ((at_limit, False), (beyond, True)):
            [stored] = (await service.put(with_form(content=content))).body["presentedForm"]
            assert ("url" in stored, "data" in stored) == (moved, not moved)


async def test_the_same_again_makes_no_version_and_no_file(service: Service) -> None:
    url = await url_of(service)
    again = await service.put(with_form())
    assert (again.status, again.headers["ETag"]) == (200, 'W/"1"')
    read_back = (await service.get("DiagnosticReport/r1")).body
    assert (await service.put(read_back)).headers["ETag"] == 'W/"1"'
    assert await url_of(service, with_form("r2")) == url
    other = await service.new_tenant()
    assert await url_of(other) != url


CARRIERS: list[tuple[str, Json]] = [
    ("message", message(patient("p1"), with_form(identifier=[{"system": "urn:f", "value": "1"}]))),
    ("batch", batch(("PUT", "DiagnosticReport/r1", with_form()))),
    ("Media", message({"resourceType": "Media", "id": "m", "status": "completed", "content": form()})),
]


@pytest.mark.parametrize(("name", "bundle"), CARRIERS, ids=[name for name, _ in CARRIERS])
async def test_whatever_brings_it(service: Service, name: str, bundle: Json) -> None:
    path = "$process-message" if bundle["type"] == "message" else ""
    answer = await service.request("POST", path, bundle)
    assert answer.status == 200, (name, answer.text)
    location = answer.body["entry"][-1]["response"]["location"]
    stored = await service.get(location.partition("/_history")[0])
    assert "Binary/file-" in stored.text
    assert HASH in stored.text
    assert '"data"' not in stored.text


async def test_a_binary_of_a_message_is_referred_to_by_its_stored_id(service: Service) -> None:
    sent = message(
        report("r", None, presentedForm=[{"contentType": TYPE, "url": "Binary/b"}]),
        binary("b"),
    )
    answer = await service.request("POST", "$process-message", sent)
    assert answer.status == 200, answer.text
    _, of_report, _ = [one["response"]["location"] for one in answer.body["entry"]]
    [stored] = (await service.get(of_report.partition("/_history")[0])).body["presentedForm"]
    read = await get(service, stored["url"])
    assert (read.headers["Content-Type"], read.body) == (TYPE, PDF)


async def test_what_is_wrong_is_corrected_and_said(service: Service) -> None:
    answer = await service.put(report(presentedForm=[form(size=1, hash="eA==")]))
    assert answer.headers["Dod-Tolerances"] == "attachment-size, attachment-hash"
    [stored] = answer.body["presentedForm"]
    assert (stored["size"], stored["hash"]) == (len(PDF), HASH)


async def test_a_search_is_as_before(service: Service) -> None:
    await service.load(with_form())
    found = await service.search("_id=r1&_elements=presentedForm")
    [stored] = found.matches[0]["resource"]["presentedForm"]
    assert stored["url"].startswith("Binary/file-")
    assert "presentedForm" not in (await service.search("_id=r1&_summary=true")).text


# --- Binary as a resource of its own


@pytest.mark.parametrize("content", [PDF, SMALL, b""], ids=["file", "inline", "empty"])
async def test_a_binary_is_read_as_a_document_and_as_a_resource(service: Service, content: bytes) -> None:
    sent = binary(content=content, securityContext={"reference": "Patient/p1"})
    if not content:
        del sent["data"]
    assert (await service.put(sent)).status == 201
    document = await get(service, "Binary/b1")
    assert (document.status, document.headers["Content-Type"], document.body) == (200, TYPE, content)
    resource = await get(service, "Binary/b1", accept=FHIR)
    assert (resource.status, resource.headers["Content-Type"]) == (200, FHIR_UTF8)
    assert int(resource.headers["Content-Length"]) == len(resource.body)
    read = resource.json
    assert read.pop("meta")["versionId"] == "1"
    assert read == sent
    assert (await service.put({**resource.json})).headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("content", [PDF, SMALL], ids=["file", "inline"])
async def test_a_document_is_pushed_as_it_is(service: Service, content: bytes) -> None:
    made = await service.request("POST", "Binary", data=content, content_type=TYPE)
    assert made.status == 201, made.text
    read = await get(service, f"Binary/{made.body['id']}")
    assert (read.headers["Content-Type"], read.body) == (TYPE, content)
    put = await service.request("PUT", "Binary/mine", data=content, content_type="image/png")
    assert (put.status, put.headers["ETag"]) == (201, 'W/"1"')
    again = await service.request("PUT", "Binary/mine", data=content, content_type="image/png")
    assert (again.status, again.headers["ETag"]) == (200, 'W/"1"')
    assert (await get(service, "Binary/mine")).headers["Content-Type"] == "image/png"


async def test_its_versions(service: Service) -> None:
    for content in (PDF, SMALL):
        await service.put(binary(content=content))
    for version, content in ((1, PDF), (2, SMALL)):
        read = await get(service, f"Binary/b1/_history/{version}")
        assert (read.status, read.headers["ETag"], read.body) == (200, f'"{version}"', content)
    assert (await service.delete("Binary/b1")).status == 204
    assert (await get(service, "Binary/b1")).status == 410
    assert (await get(service, "Binary/b1/_history/1")).body == PDF


async def test_a_file_as_a_resource(service: Service) -> None:
    url = await url_of(service)
    resource = await get(service, url, accept=FHIR)
    read = resource.json
    assert (resource.headers["ETag"], read["id"]) == ('W/"1"', url.removeprefix("Binary/"))
    assert (read["contentType"], b64decode(read["data"])) == (TYPE, PDF)
    assert (await get(service, f"{url}/_history/1", accept=FHIR)).body == resource.body
    assert (await get(service, f"{url}/_history/2")).status == 404


async def test_the_id_of_a_file_cannot_be_taken(service: Service) -> None:
    answer = await service.put(binary((await url_of(service)).removeprefix("Binary/")))
    assert (answer.status, answer.issues) == (422, [("error", "business-rule")])


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (TYPE, 201),
        ("text/plain; charset=iso-8859-1", 201),
        ("application/dicom", 201),
        ("application/fhir+xml", 415),
        ("*/*", 415),
        ('text/plain; x="\u00e4"', 415),
    ],
)
async def test_content_types_of_documents(service: Service, content_type: str, status: int) -> None:
    answer = await service.request("POST", "Binary", data=SMALL, content_type=content_type)
    assert answer.status == status, answer.text
    if status == 201:
        read = await get(service, f"Binary/{answer.body['id']}")
        assert read.headers["Content-Type"] == content_type


async def test_an_encoding_that_is_not_decoded_is_refused(service: Service) -> None:
    answer = await service.request(
        "POST", "Binary", data=SMALL, content_type=TYPE, headers={"Content-Encoding": "compress"}
    )
    assert answer.status == 415


async def test_a_type_that_could_break_a_header_is_served_as_bytes(service: Service) -> None:
    await service.put(binary(content=SMALL, contentType="text/html\r\nSet-Cookie: a=b"))
    read = await get(service, "Binary/b1")
    assert (read.headers["Content-Type"], "Set-Cookie" in read.headers) == ("application/octet-stream", False)


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


# --- who may


SCOPES: list[tuple[list[str], bool, bool]] = [
    # scopes, may read the file of a report, may read a Binary of its own
    (["system/*.r"], True, True),
    (["system/Binary.r"], True, True),
    (["system/DiagnosticReport.rs"], True, False),
    (["system/DiagnosticReport.s"], False, False),
    (["system/Observation.rs"], False, False),
    (["system/Binary.cud"], False, False),
]


@pytest.mark.parametrize(("scopes", "file", "own"), SCOPES, ids=[" ".join(row[0]) for row in SCOPES])
async def test_scopes(service: Service, scopes: list[str], file: bool, own: bool) -> None:
    url = await url_of(service)
    await service.put(binary())
    reader = await service.with_token(scopes=scopes)
    for path, may in ((url, file), ("Binary/b1", own), (f"Binary/file-{'0' * 40}", False)):
        read = await get(reader, path)
        there = path != f"Binary/file-{'0' * 40}"
        knows = own and not there  # May read Binary: 404. Others are not told whether it is there.
        assert read.status == (200 if may else 404 if knows else 403), path


async def test_writing_needs_the_scope(service: Service) -> None:
    reader = await service.with_token(scopes=["system/DiagnosticReport.cruds", "system/Binary.r"])
    for method, path in (("POST", "Binary"), ("PUT", "Binary/x")):
        assert (await reader.request(method, path, data=SMALL, content_type=TYPE)).status == 403


async def test_tenants_see_nothing_of_one_another(service: Service) -> None:
    url = await url_of(service)
    await service.put(binary())
    other = await service.new_tenant()
    for path in (url, f"{url}/_history/1", "Binary/b1"):
        assert (await get(other, path)).status == 404
        foreign = Service(service.client, service.clock, service.tenant, other.headers)
        assert (await get(foreign, path)).status == 403


# --- what breaks


class Failing:
    """A port whose verb fails once it is reached, as a process that is killed there."""

    def __init__(self, inner: Any, verb: str) -> None:
        self.inner, self.verb = inner, verb

    def __getattr__(self, name: str) -> Any:
        return self.fail if name == self.verb else getattr(self.inner, name)

    async def fail(self, *_: object, **__: object) -> None:
        raise ServiceError(Category.UNAVAILABLE, Issue("transient", "killed here"))


async def test_killed_between_file_and_resource(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app = service.client.app
    assert app is not None
    with monkeypatch.context() as patched:
        patched.setitem(app._state, RESOURCES, Failing(app[RESOURCES], "put_many"))
        assert (await service.put(with_form())).status == 503
    assert (await service.get("DiagnosticReport/r1")).status == 404
    assert await orphans(service) == 1
    assert await orphans(service) == 0
    url = await url_of(service)
    assert await orphans(service) == 0
    assert (await get(service, url)).body == PDF


async def test_without_its_file_no_resource_is_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service.client.app
    assert app is not None
    with monkeypatch.context() as patched:
        patched.setitem(app._state, ATTACHMENTS, Failing(app[ATTACHMENTS], "put"))
        answers: list[Answer] = [
            await service.put(with_form()),
            await service.request("POST", "$process-message", message(patient("p1"), with_form())),
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert (await service.get("DiagnosticReport/r1")).status == 404


async def test_a_refused_push_leaves_no_file(service: Service) -> None:
    assert (await service.put(with_form(status="nonsense"))).status == 422
    assert (await service.put(with_form("other", status=7))).status == 422
    assert await orphans(service) == 0


async def test_files_go_after_the_last_version_only(service: Service) -> None:
    url = await url_of(service)
    await service.put(report())
    await service.delete("DiagnosticReport/r1")
    assert await orphans(service) == 0
    assert (await get(service, url)).body == PDF


async def test_a_document_that_breaks_off_is_no_whole_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service.client.app
    assert app is not None
    url, inner = await url_of(service), app[ATTACHMENTS]

    async def broken(tenant: Tenant, file: File, *, start: int, end: int) -> AsyncIterator[bytes]:
        async for piece in inner.read(tenant, file, start=start, end=end):
            yield piece
            raise ServiceError(Category.UNAVAILABLE)

    wrapped = Failing(inner, "nothing")
    wrapped.read = broken  # type: ignore[attr-defined]
    monkeypatch.setitem(app._state, ATTACHMENTS, wrapped)
    with pytest.raises(ClientError):
        await get(service, url)


async def test_what_the_command_says(service: Service) -> None:
    lines: list[str] = []
    await url_of(service)
    later = service.clock() + timedelta(hours=2)
    await collect_files(stores_of(service), tenant=service.tenant, now=later, say=lines.append)
    assert lines == [f"{service.tenant}: 1 examined, 0 deleted, 0 bytes freed"]
