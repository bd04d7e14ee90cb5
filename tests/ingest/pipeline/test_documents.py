"""Documents taken out of a resource: what stays, and what stands in their place."""

from __future__ import annotations

import binascii
import json
from base64 import b64encode
from hashlib import sha1
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.decode import decode
from ingest.pipeline.documents import (
    FILE_EXTENSION,
    SOURCE_URL_EXTENSION,
    Naming,
    file_of_binary,
    holds_documents,
    may_hold_documents,
    pieces,
    refuse_file_id,
    take_out,
)
from ingest.pipeline.validation.attachments import HASH, SIZE
from store.errors import Category, ServiceError
from store.files import CHUNK_BYTES, FILE_ID, references_to_files
from store.tenancy import Tenant
from tests.support.fhir import Json, message, report

LONG = 100
LAB = Tenant("lab", "Production")
NAMING = Naming(LAB, b"secret")
BYTES = b"%PDF-1.7 made up " * 20
DATA = b64encode(BYTES).decode()
TRUE_HASH = b64encode(sha1(BYTES, usedforsecurity=False).digest()).decode()


def attachment(**elements: Any) -> Json:
    return {"contentType": "application/pdf", "data": DATA, **elements}


def moved(resource: Json) -> Json:
    """Rest of a resource, once everything long is out."""
    left = take_out(resource, NAMING, longer_than=LONG).resource
    assert isinstance(left, dict)
    return left


def test_an_attachment_keeps_all_but_its_data() -> None:
    form = attachment(title="Made up", creation="2026-01-02", language="de", extension=[{"url": "urn:x"}])
    taken = take_out(report(presentedForm=[form]), NAMING, longer_than=LONG)
    [file] = taken.files
    assert FILE_ID.fullmatch(file.id)
    assert (file.size, file.content_type, b"".join(file.pieces())) == (len(BYTES), "application/pdf", BYTES)
    del form["data"]
    expected = {**form, "url": f"Binary/{file.id}", "size": len(BYTES), "hash": TRUE_HASH}
    assert taken.resource == report(presentedForm=[expected])
    assert taken.tolerances == ()


WHERE: list[tuple[str, Json]] = [
    ("presentedForm", report(presentedForm=[attachment()])),
    ("presentedForm as an object", report(presentedForm=attachment())),
    ("Media", {"resourceType": "Media", "content": attachment()}),
    ("DocumentReference", {"resourceType": "DocumentReference", "content": [{"attachment": attachment()}]}),
    ("photo", {"resourceType": "Patient", "photo": [attachment()]}),
    ("extension", {"resourceType": "Observation", "extension": [{"valueAttachment": attachment()}]}),
    ("contained", report(contained=[{"resourceType": "Media", "id": "m", "content": attachment()}])),
    ("message", message(report(presentedForm=[attachment()]))),
    ("Binary in a message", message({"resourceType": "Binary", "id": "b", **attachment()})),
    ("Binary", {"resourceType": "Binary", **attachment()}),
]


@pytest.mark.parametrize(("name", "resource"), WHERE, ids=[name for name, _ in WHERE])
def test_where_documents_are_found(name: str, resource: Json) -> None:
    assert holds_documents(resource, longer_than=LONG), name
    taken = take_out(resource, NAMING, longer_than=LONG)
    assert len(taken.files) == 1
    assert DATA not in str(taken.resource)
    assert not holds_documents(taken.resource, longer_than=LONG)
    assert f"Binary/{taken.files[0].id}" in str(taken.resource)


@pytest.mark.parametrize(("name", "resource"), WHERE, ids=[name for name, _ in WHERE])
def test_bytes_tell_that_there_may_be_documents(name: str, resource: Json) -> None:
    body = json.dumps(resource).encode()
    for sent in (body, body.replace(b'"data"', rb'"d\u0061ta"'), body.replace(b":", b" : ")):
        assert holds_documents(decode(sent), longer_than=LONG), name
        assert may_hold_documents(sent, longer_than=LONG), name


def test_bytes_tell_that_there_are_none() -> None:
    body = json.dumps(report()).encode()
    assert not may_hold_documents(body, longer_than=LONG)
    short = json.dumps({"data": "A"}).encode()
    assert not may_hold_documents(short, longer_than=len(short))
    assert may_hold_documents(short, longer_than=len(short) - 1)


STAYS: list[tuple[str, Json]] = [
    ("short", report(presentedForm=[attachment(data="A" * LONG)])),
    ("sampled data", {"resourceType": "Observation", "valueSampledData": {"data": "1 2 3 " * LONG}}),
    ("signature", {"resourceType": "Provenance", "signature": [{"data": DATA}]}),
    ("contained Binary", report(contained=[{"resourceType": "Binary", "id": "b", "data": DATA}])),
    ("no text", report(presentedForm=[attachment(data=[DATA])])),
    ("an element of that name", report(presentedForm=[{"extension": [{"data": DATA}]}])),
]


@pytest.mark.parametrize(("name", "resource"), STAYS, ids=[name for name, _ in STAYS])
def test_what_is_no_long_document_stays(name: str, resource: Json) -> None:
    assert not holds_documents(resource, longer_than=LONG), name
    assert take_out(resource, NAMING, longer_than=LONG) == (resource, (), ())


@pytest.mark.parametrize(
    "data", ["?" * 200, "A" * 201, DATA + "=", "====" + DATA, f"{DATA}===={DATA}", "-_" * 80]
)
def test_what_is_not_base64_stays_as_it_is(data: str) -> None:
    resource = report(presentedForm=[attachment(data=data)])
    assert take_out(resource, NAMING, longer_than=LONG) == (resource, (), ())


@pytest.mark.parametrize(
    ("said", "tolerances"),
    [
        ({"size": len(BYTES), "hash": TRUE_HASH}, ()),
        ({"size": 100}, (SIZE,)),
        ({"hash": "bm90IHRydWU="}, (HASH,)),
        ({"size": 1, "hash": "x"}, (SIZE, HASH)),
    ],
)
def test_what_the_source_says_of_its_data_is_corrected_and_named(
    said: Json, tolerances: tuple[str, ...]
) -> None:
    taken = take_out(report(presentedForm=[attachment(**said)]), NAMING, longer_than=LONG)
    assert taken.tolerances == tolerances
    [form] = moved(report(presentedForm=[attachment(**said)]))["presentedForm"]
    assert (form["size"], form["hash"]) == (len(BYTES), TRUE_HASH)


def test_the_address_that_a_source_gave_beside_its_data_is_kept() -> None:
    own = {"id": "u", "extension": [{"url": "urn:mine"}]}
    left = moved(report(presentedForm=[attachment(url="https://lab.example/1.pdf", _url=own)]))
    [form] = left["presentedForm"]
    assert form["_url"]["id"] == "u"
    assert form["_url"]["extension"] == [
        {"url": "urn:mine"},
        {"url": SOURCE_URL_EXTENSION, "valueUrl": "https://lab.example/1.pdf"},
    ]


def test_a_binary_says_where_its_bytes_are() -> None:
    left = moved({"resourceType": "Binary", "id": "b", **attachment(), "_data": {"id": "d"}})
    name = file_of_binary(left)
    assert name is not None
    assert left["_data"] == {"extension": [{"url": FILE_EXTENSION, "valueUrl": f"Binary/{name}"}]}
    assert file_of_binary({"resourceType": "Binary", "data": DATA}) is None


def test_ids_are_equal_for_equal_bytes_and_type_of_one_tenant_only() -> None:
    def named(naming: Naming, **elements: Any) -> str:
        return take_out(report(presentedForm=[attachment(**elements)]), naming, longer_than=LONG).files[0].id

    other_bytes = b64encode(BYTES + b"!").decode()
    wrapped = "\n".join(DATA[at : at + 76] for at in range(0, len(DATA), 76))
    assert named(NAMING, title="x") == named(NAMING, data=wrapped)
    different = [
        named(NAMING),
        named(NAMING, data=other_bytes),
        named(NAMING, contentType="text/html"),
        named(Naming(Tenant("lab", "Staging"), b"secret")),
        named(Naming(LAB, b"another")),
    ]
    assert len(set(different)) == len(different)


def test_the_same_bytes_twice_are_one_file() -> None:
    taken = take_out(
        report(presentedForm=[attachment(title="a"), attachment(title="b")]), NAMING, longer_than=LONG
    )
    assert len(taken.files) == 1


@given(st.binary(max_size=40), st.lists(st.integers(0, 60), max_size=5), st.sampled_from([3, 6, 9]))
def test_pieces_are_the_decoded_bytes_whatever_white_space_is_between(
    content: bytes, breaks: list[int], size: int
) -> None:
    text = b64encode(content).decode()
    for at in breaks:
        text = text[:at] + " \r\n"[at % 3] + text[at:]
    found = list(pieces(text, size))
    assert b"".join(found) == content
    assert all(len(one) == size for one in found[:-1])


@pytest.mark.parametrize("at", [4, 8, 12])
def test_padding_ends_the_whole(at: int) -> None:
    text = b64encode(bytes(20)).decode()
    with pytest.raises(binascii.Error):
        list(pieces(text[: at - 1] + "=" + text[at:], 3))


def test_a_piece_needs_no_remainder_in_base64() -> None:
    assert CHUNK_BYTES % 3 == 0


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"url":"Binary/file-%b"}', True),
        (b'{"reference":"https://dod.example/fhir/R4/a/Staging/Binary/file-%b/_history/1"}', True),
        (b'{"url":"Binary/file-%b0"}', False),
        (b'{"text":"see Binary/file-%b there"}', False),
    ],
)
def test_references_to_files(raw: bytes, found: bool) -> None:
    name = "ab" * 20
    assert references_to_files(raw % name.encode()) == ([f"file-{name}"] if found else [])


def test_the_id_of_a_file_is_not_for_resources() -> None:
    with pytest.raises(ServiceError) as refused:
        refuse_file_id("Binary", f"file-{'0' * 40}")
    assert refused.value.category is Category.UNPROCESSABLE
    refuse_file_id("Binary", "file-1")
    refuse_file_id("Media", f"file-{'0' * 40}")


def test_deep_nesting_is_refused() -> None:
    deep: Json = {"presentedForm": attachment()}
    for _ in range(5_000):
        deep = {"extension": [deep]}
    assert holds_documents(deep, longer_than=LONG)
    with pytest.raises(ServiceError) as refused:
        take_out(deep, NAMING, longer_than=LONG)
    assert refused.value.category is Category.INCORRECT
