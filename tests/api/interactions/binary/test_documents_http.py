"""Documents over HTTP: pushed inside resources, as Binary or as they are; read whole, in part, or as FHIR."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha1

import pytest

from store.files import FILE_ID
from tests.api.interactions.binary.binaries import (
    PDF,
    SMALL,
    TYPE,
    binary,
    form,
    get,
    orphans,
    url_of,
    with_form,
)
from tests.support.fhir import Json, batch, message, patient, report
from tests.support.service import FHIR, FHIR_UTF8, Service, opened_service

HASH = b64encode(sha1(PDF, usedforsecurity=False).digest()).decode()


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
        ("application/fhir+xml", 201),
        ("application/fhir+json", 201),
        ("application/json; charset=utf-8", 201),
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


JSON_TYPE, XML_TYPE = "application/fhir+json", "application/fhir+xml"
OTHERS: list[tuple[str, bytes]] = [
    (JSON_TYPE, b'{"resourceType": "Patient", "id": "p1"}'),
    (JSON_TYPE, b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Binary"}}]}'),
    ("application/json", b'{"a": 1}'),
    ("application/json", b"[1, 2"),
    (XML_TYPE, b'<?xml version="1.0"?><!-- x --><f:Patient xmlns:f="http://hl7.org/fhir"/>'),
]


@pytest.mark.parametrize(("content_type", "content"), OTHERS)
async def test_what_is_no_binary_is_a_document(service: Service, content_type: str, content: bytes) -> None:
    for method, path in (("POST", "Binary"), ("PUT", "Binary/mine")):
        made = await service.request(method, path, data=content, content_type=content_type)
        assert made.status == 201, made.text
        read = await get(service, f"Binary/{made.body['id']}")
        assert (read.headers["Content-Type"], read.body) == (content_type, content)
        resource = await get(service, f"Binary/{made.body['id']}", accept=FHIR)
        assert (resource.json["contentType"], b64decode(resource.json["data"])) == (content_type, content)


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        (JSON_TYPE, b"", 400),
        (JSON_TYPE, b'{"id":"b","resourceType" : "Binary","contentType":"text/plain"', 400),
        (XML_TYPE, b'<Binary xmlns="http://hl7.org/fhir"><contentType value="text/plain"/></Binary>', 415),
    ],
)
async def test_a_binary_that_cannot_be_read_is_no_document(
    service: Service, content_type: str, content: bytes, status: int
) -> None:
    assert (await service.request("POST", "Binary", data=content, content_type=content_type)).status == status


async def test_an_encoding_that_is_not_decoded_is_refused(service: Service) -> None:
    answer = await service.request(
        "POST", "Binary", data=SMALL, content_type=TYPE, headers={"Content-Encoding": "compress"}
    )
    assert answer.status == 415


async def test_a_type_that_could_break_a_header_is_served_as_bytes(service: Service) -> None:
    await service.put(binary(content=SMALL, contentType="text/html\r\nSet-Cookie: a=b"))
    read = await get(service, "Binary/b1")
    assert (read.headers["Content-Type"], "Set-Cookie" in read.headers) == ("application/octet-stream", False)
