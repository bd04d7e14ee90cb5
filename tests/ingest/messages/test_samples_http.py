"""An extra run over a folder of FHIR files, which `TEST_DATA` names: pushed, read back, compared."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest

from ingest.pipeline.decode import decode
from ingest.pipeline.stamp import dump
from ingest.pipeline.validation.tolerances import mend
from tests.support.extra import DATA, push
from tests.support.service import FHIR

if TYPE_CHECKING:
    from tests.support.service import Service

pytestmark = [
    pytest.mark.skipif(DATA is None, reason="TEST_DATA is not set"),
    pytest.mark.slow,
]

FOLDERS = ("dr", "messages", "synthea-support")


def files() -> list[Any]:
    if DATA is None:
        return []
    return [
        pytest.param(path.read_bytes(), id=f"{folder}-{path.stem}"[:80])
        for folder in FOLDERS
        for path in sorted((DATA / folder).glob("*.json"))
    ]


def comparable(resource: Any, *, references: bool) -> Any:
    """Content that must come back unchanged: all but what the service gives, and rewritten references."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated")
    }
    rest = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    whole = without_gaps({**rest, **({"meta": meta} if meta else {})})
    return whole if references else without_references(whole)


def without_gaps(value: Any) -> Any:
    """Base64 may be broken into lines, of which a file knows nothing."""
    if isinstance(value, dict):
        return {
            name: "".join(inner.split()) if name == "data" and isinstance(inner, str) else without_gaps(inner)
            for name, inner in value.items()
        }
    return [without_gaps(inner) for inner in value] if isinstance(value, list) else value


def without_references(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "…" if name == "reference" and isinstance(inner, str) else without_references(inner)
            for name, inner in value.items()
        }
    return [without_references(inner) for inner in value] if isinstance(value, list) else value


def mended(resource: Any) -> Any:
    """The resource as the tolerances leave it, numbers as literal text."""
    # A size that the data belies is mended, as a number.
    return json.loads(dump(mend(resource).resource), parse_int=str, parse_float=str)


async def with_documents(service: Service, value: Any) -> Any:
    """With documents that became files back in their places."""
    if isinstance(value, list):
        return [await with_documents(service, one) for one in value]
    if not isinstance(value, dict):
        return value
    whole = {name: await with_documents(service, inner) for name, inner in value.items()}
    if str(whole.get("url", "")).startswith("Binary/file-"):
        file = await service.get(str(whole.pop("url")), accept=FHIR)
        whole["data"] = file.body["data"]
        assert whole.pop("size") == str(len(b64decode(whole["data"])))
        assert whole.pop("hash") == b64encode(sha1(b64decode(whole["data"])).digest()).decode()  # noqa: S324
    return whole


@pytest.mark.parametrize("body", files())
async def test_a_file_is_accepted_and_comes_back_as_it_was(service: Service, body: bytes) -> None:
    decode(body)
    answer, accepted = await push(service, body)
    assert answer.status in (200, 201), answer.text[:2000]
    assert accepted
    if answer.body["resourceType"] == "Bundle":
        refused = [e for e in answer.body["entry"] if not e["response"]["status"].startswith("20")]
        assert refused == []
    rewritten = answer.body["resourceType"] == "Bundle"
    for sent, where in accepted:
        read = await service.get(where)
        assert read.status == 200
        stored = await with_documents(service, read.digits)
        assert comparable(stored, references=not rewritten) == comparable(
            mended(sent), references=not rewritten
        )
    again, _ = await push(service, body)
    assert again.status in (200, 201)
