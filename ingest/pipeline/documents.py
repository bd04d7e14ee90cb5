"""Documents inside a pushed resource, taken out of it: base64 → a file, and its address in its place.

Pure. What is left is an Attachment as R4 has it for content kept elsewhere: `url`, `size` and `hash` instead
of `data`. A Binary has no such elements, so an extension on its `data` says where that is.
https://hl7.org/fhir/R4/datatypes.html#Attachment, https://hl7.org/fhir/R4/binary.html
"""

from __future__ import annotations

import binascii
import hmac
from dataclasses import dataclass
from functools import partial
from hashlib import sha1, sha256
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.bundle_entries import is_kept_whole
from ingest.pipeline.stamp import dump
from ingest.pipeline.validation.attachments import hash_of, wrongs
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.files import CHUNK_BYTES, FILE_ID, NewFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.fhir.datatypes import Json, JsonObject
    from store.files import File
    from store.tenancy import Tenant

FILE_EXTENSION: Final = "urn:data-on-demand:file"
"""Extension of `Binary.data` that says where the bytes are."""
SOURCE_URL_EXTENSION: Final = "urn:data-on-demand:source-url"
"""Extension of `Attachment.url` with the source's own, beside the data that it sent as well."""
_ATTACHMENTS: Final = frozenset({"presentedForm", "content", "attachment", "photo", "image", "document"})
"""Elements of type Attachment, beside those whose name ends in `Attachment`: `valueAttachment` …"""


class Taken(NamedTuple):
    """A resource, or a Bundle of them, without its large documents; and these."""

    resource: JsonObject
    files: tuple[NewFile, ...] = ()
    tolerances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Naming:
    """Maker of a file's id: equal for equal bytes and type within a tenant, and secret."""

    tenant: Tenant
    secret: bytes

    def id_of(self, content_type: str | None, digest: str) -> str:
        """Id of the Binary that holds a document of this type and digest: `file-…`."""
        named = f"{self.tenant} file {digest} {content_type or ''}"
        return f"file-{hmac.digest(self.secret, named.encode(), sha256)[:20].hex()}"


def may_hold_documents(body: bytes | bytearray, *, longer_than: int) -> bool:
    """Whether the JSON in a body can hold any: they stand under `data`, which an escape may spell too."""
    return len(body) > longer_than and (b'"data"' in body or rb"\u" in body)


def holds_documents(resource: JsonObject, *, longer_than: int) -> bool:
    """Whether there is anything to take out."""
    # Serialising takes a tenth of the time of the walk, and is longer than any text in it.
    if _serialised(resource) <= longer_than:
        return False
    left = [("", resource)]  # No recursion: each push comes here, however deep it is nested.
    while left:
        name, element = left.pop()
        if _is_document(element, name, longer_than):
            return True
        for inner, value in element.items():
            if isinstance(value, dict):
                left += [] if _is_whole(value, inner) else [(inner, value)]
            elif isinstance(value, list):
                left += [(inner, one) for one in value if isinstance(one, dict)]
    return False


def _serialised(resource: JsonObject) -> float:
    """Length of a value as JSON; infinite for what nobody can serialise."""
    try:
        return len(dump(resource))
    except ServiceError:
        return inf


def _is_document(element: JsonObject, name: str, longer_than: int) -> bool:
    data = element.get("data")
    if not isinstance(data, str) or len(data) <= longer_than:
        return False
    # A contained Binary is addressed by nobody from outside, so it stays where it is.
    return name in _ATTACHMENTS or name.endswith("Attachment") or _is_binary(element, name)


def _is_whole(element: JsonObject, name: str) -> bool:
    """Whether an element is the resource of an entry, and of a kind that is kept as it came."""
    return name == "resource" and is_kept_whole(element)


def _is_binary(element: JsonObject, name: str) -> bool:
    return element.get("resourceType") == "Binary" and name != "contained"


def take_out(resource: JsonObject, naming: Naming, *, longer_than: int) -> Taken:
    """The resource with each document whose base64 is longer than this replaced by its address.

    What is not base64 stays where it is. The bytes are never held as a whole. Raises ServiceError
    `incorrect` for what is nested too deep.
    """
    taking = _Taking(naming, longer_than)
    try:
        rest = taking.left(resource, "")
    except RecursionError:
        text = "the JSON is nested too deep"
        raise ServiceError(Category.INCORRECT, Issue("structure", text)) from None
    return Taken(rest, tuple(taking.files.values()), tuple(taking.said))


class _Taking:
    """Files found on the way. No closure: one that calls itself would keep the data until a collection."""

    def __init__(self, naming: Naming, longer_than: int) -> None:
        self._naming = naming
        self._longer_than = longer_than
        self.files: dict[str, NewFile] = {}
        self.said: dict[str, None] = {}

    def left(self, element: JsonObject, name: str) -> JsonObject:
        """Element without the files; the same object where nothing was taken out."""
        if _is_document(element, name, self._longer_than):
            file = _file(element, self._naming)
            if file is not None:
                self.files[file.id] = file
                if _is_binary(element, name):
                    return _binary(element, file)
                self.said.update(dict.fromkeys(wrongs(element, size=file.size, hash=hash_of(file.sha1))))
                return _attachment(element, file)
        changed: dict[str, Json] = {}
        for inner, value in element.items():
            new: Json = value
            if isinstance(value, dict):
                new = value if _is_whole(value, inner) else self.left(value, inner)
            elif isinstance(value, list):
                ones = [self.left(one, inner) if isinstance(one, dict) else one for one in value]
                if any(a is not b for a, b in zip(ones, value, strict=True)):
                    new = ones
            if new is not value:
                changed[inner] = new
        return {**element, **changed} if changed else element


def _file(element: JsonObject, naming: Naming) -> NewFile | None:
    """The file of an element's data; None when that is not base64."""
    data, content_type = str(element["data"]), element.get("contentType")
    kind = content_type if isinstance(content_type, str) else None
    size, short, long = 0, sha1(usedforsecurity=False), sha256()
    try:
        for piece in pieces(data):
            size += len(piece)
            short.update(piece)
            long.update(piece)
    except binascii.Error:
        return None
    file_id = naming.id_of(kind, long.hexdigest())
    return NewFile(file_id, size, short.digest(), kind, partial(pieces, data))


def pieces(data: str, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Decoded base64, `size` bytes at a time; R4 allows white space in it.

    Raises binascii.Error where it is none.
    """
    digits, waiting = size // 3 * 4, ""
    for at in range(0, len(data), digits):
        waiting += "".join(data[at : at + digits].split())
        if len(waiting) > digits:  # Not the last piece, so it is a full one: padding can only end the whole.
            piece = binascii.a2b_base64(waiting[:digits], strict_mode=True)
            if len(piece) != size:
                raise binascii.Error
            yield piece
            waiting = waiting[digits:]
    if waiting:
        yield binascii.a2b_base64(waiting, strict_mode=True)


def attachment_of(file: File) -> JsonObject:
    """The Attachment that a file is which is kept already."""
    kind: JsonObject = {"contentType": file.content_type} if file.content_type else {}
    return {**kind, "url": f"Binary/{file.id}", "size": file.size, "hash": hash_of(file.sha1)}


def _attachment(element: JsonObject, file: NewFile) -> JsonObject:
    kept = {name: value for name, value in element.items() if name != "data"}
    own = element.get("url")
    if isinstance(own, str):
        beside = element.get("_url")
        extended = beside if isinstance(beside, dict) else {}
        others = extended.get("extension")
        own_url: JsonObject = {"url": SOURCE_URL_EXTENSION, "valueUrl": own}
        kept["_url"] = {**extended, "extension": [*(others if isinstance(others, list) else ()), own_url]}
    return {**kept, "url": f"Binary/{file.id}", "size": file.size, "hash": hash_of(file.sha1)}


def _binary(element: JsonObject, file: NewFile) -> JsonObject:
    kept = {name: value for name, value in element.items() if name not in ("data", "_data")}
    return {**kept, "_data": {"extension": [{"url": FILE_EXTENSION, "valueUrl": f"Binary/{file.id}"}]}}


def file_of_binary(resource: JsonObject) -> str | None:
    """The id of the file that holds a stored Binary's data; None: it holds it itself."""
    beside = resource.get("_data")
    extensions = beside.get("extension") if isinstance(beside, dict) else None
    for one in extensions if isinstance(extensions, list) else ():
        if isinstance(one, dict) and one.get("url") == FILE_EXTENSION:
            return str(one.get("valueUrl")).removeprefix("Binary/")
    return None


def refuse_file_id(resource_type: str, resource_id: str) -> None:
    """Raise ServiceError for the id of a file: nobody would ever read what is stored under it."""
    if resource_type == "Binary" and FILE_ID.fullmatch(resource_id):
        text = "`Binary.id` is that of a file, which is named by its content and cannot be changed"
        raise ServiceError(Category.UNPROCESSABLE, Issue("business-rule", text, ("Binary.id",)))
