"""Attachments that carry their data: what else they say of it is made so. https://hl7.org/fhir/R4/datatypes.html#attachment

Long ones are taken out before (`ingest.pipeline.documents`), and go by the same rule.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.fhir.datatypes import Json, JsonObject

SIZE: Final = "attachment-size"
HASH: Final = "attachment-hash"
"""Tolerances: what the source says of its own data is not so; what is so is kept."""
_PLACES: Final = ("presentedForm", "content", "photo", "image")
"""Elements of a resource that are an Attachment, or hold one as `attachment`."""


def wrongs(element: JsonObject, *, size: int, hash: str) -> Iterator[str]:
    """Tolerances that an Attachment needs whose data has this size and hash."""
    if isinstance(said := element.get("size", size), bool) or said != size:
        yield SIZE
    if element.get("hash", hash) != hash:
        yield HASH


def hash_of(digest: bytes) -> str:
    """SHA-1 as base64, as R4 has it."""
    return b64encode(digest).decode()


def with_true_size(resource: JsonObject) -> JsonObject:
    """The resource with the size that the data of each Attachment has; itself where all are right."""
    return _mended(resource, "size")


def with_true_hash(resource: JsonObject) -> JsonObject:
    """The resource with the hash that the data of each Attachment has; itself where all are right."""
    return _mended(resource, "hash")


def _mended(resource: JsonObject, name: str) -> JsonObject:
    changed: dict[str, Json] = {}
    for place in _PLACES:
        value = resource.get(place)
        if isinstance(value, list):
            ones: list[Json] = [_of(one, name) if isinstance(one, dict) else one for one in value]
            if any(a is not b for a, b in zip(ones, value, strict=True)):
                changed[place] = ones
        elif isinstance(value, dict) and (one := _of(value, name)) is not value:
            changed[place] = one
    return {**resource, **changed} if changed else resource


def _of(element: JsonObject, name: str) -> JsonObject:
    inner = element.get("attachment")
    if isinstance(inner, dict):
        mended = _of(inner, name)
        return element if mended is inner else {**element, "attachment": mended}
    data = element.get("data")
    if name not in element or not isinstance(data, str):
        return element
    try:
        content = binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except ValueError:
        return element  # Refused for that.
    if name == "size":
        is_so = element["size"] == len(content) and not isinstance(element["size"], bool)
        return element if is_so else {**element, "size": len(content)}
    digest = hash_of(sha1(content, usedforsecurity=False).digest())
    return element if element["hash"] == digest else {**element, "hash": digest}
