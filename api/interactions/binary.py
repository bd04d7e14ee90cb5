"""Binary: the document itself with its own content type, or as a resource when FHIR JSON is asked for.

A Binary is a resource that was pushed, small or with its bytes in a file, or a file that was taken out of
another resource. All three are answered alike. https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.helpers import parse_mimetype

from api.http.app_keys import REQUEST_ID
from api.http.fhir_json import (
    FHIR_BODIES,
    refuse_other_version,
    refuse_unknown_encoding,
    refuse_unknown_format,
)
from api.http.headers import listed
from api.http.sending import STREAM_BYTES, in_time
from api.interactions.byte_range import ByteRange, Unsatisfiable, parse
from ingest import handlers as ingest
from ingest.http import replies
from ingest.http.answer_room import SMALL_BYTES, hold
from ingest.http.app_keys import ATTACHMENTS, AUDITED, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.body import body_of
from ingest.http.outcome import render
from ingest.http.reach import check_reading, seen
from ingest.pipeline.budget import LIGHT_BYTES
from ingest.pipeline.decode import decode
from ingest.pipeline.documents import file_of_binary
from ingest.pipeline.preconditions import has_tag
from ingest.pipeline.stamp import dump
from ingest.writes.push import check_scope
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.files import FILE_ID
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored, instant
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.caller import Caller
    from store.fhir.datatypes import JsonObject
    from store.files import File

LOG: Final = logging.getLogger("api.binary")
FHIR_TYPES: Final = frozenset({"application/fhir+json", "application/json+fhir"})
"""R4: the resource only for those who name one of its types; whoever takes anything gets the document."""
FHIR_XML: Final = frozenset({"application/fhir+xml", "application/xml+fhir"})
UNKNOWN_TYPE: Final = "application/octet-stream"
_JSON_TYPE: Final = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]*)"')
_XML_ROOT: Final = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
"""The first of them in a body tells what it is."""
_SAFE_TYPE: Final = re.compile(
    r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}(?: *; *[\w.+-]+=[\w.+:-]+)*", re.ASCII
)
"""Form of a type that may stand in a header; anything else is served as bytes."""
_UNDISPLAYED: Final = {
    "Content-Disposition": "attachment",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: "Accept, Authorization",
}
"""A document of a stranger must not run in our origin, nor stay where others can get at it."""
_NO_SUCH: Final = Issue("not-found", "there is no such resource")


@dataclass(frozen=True, slots=True)
class Document:
    """A Binary: its resource, and the bytes or the file that holds them."""

    id: str
    version: int
    resource: JsonObject
    content_type: str
    content: bytes | File
    raw: bytes | None = None
    """The resource with its `data`, when it was asked for and is stored like that."""

    @property
    def size(self) -> int:
        """Size of the document, in bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size


# --- pushing


async def create(request: web.Request) -> web.StreamResponse:
    """POST {base}/Binary: a Binary as FHIR JSON, or the document as it is."""
    refuse_unknown_encoding(request)
    if await _is_resource(request):
        refuse_other_version(request)
        return await ingest.create(request)
    return await ingest.create_from(request, await _wrapped(request))


async def update(request: web.Request) -> web.StreamResponse:
    """PUT {base}/Binary/{id}: a Binary as FHIR JSON, or the document as it is."""
    refuse_unknown_encoding(request)
    if await _is_resource(request):
        refuse_other_version(request)
        return await ingest.update(request)
    wrapped = await _wrapped(request)
    return await ingest.update_from(request, {**wrapped, "id": request.match_info["id"]})


async def _is_resource(request: web.Request) -> bool:
    """Whether the body is a Binary in FHIR's JSON. Raises 415 for one in XML.

    All else is a document, other resources too: DECISIONS.md#no-binary-is-document. An empty body says
    nothing, and stays the fault that it is elsewhere.
    """
    kind = request.content_type
    if kind not in FHIR_BODIES and kind not in FHIR_XML:
        return False
    body = await body_of(request)
    pattern = _JSON_TYPE if kind in FHIR_BODIES else _XML_ROOT
    light = len(body) <= LIGHT_BYTES
    found = pattern.search(body) if light else await asyncio.to_thread(pattern.search, body)
    is_binary = found is not None and found[1] == b"Binary"
    if is_binary and kind in FHIR_XML:
        raise web.HTTPUnsupportedMediaType(text="A Binary as a resource is FHIR JSON here.")
    return is_binary or (not body and kind in FHIR_BODIES)


async def _wrapped(request: web.Request) -> JsonObject:
    """The body as the Binary that it stands for."""
    content_type = request.headers.get(hdrs.CONTENT_TYPE, UNKNOWN_TYPE).strip()
    if not _SAFE_TYPE.fullmatch(content_type):
        raise web.HTTPUnsupportedMediaType(text="`Content-Type` is FHIR JSON or that of a document.")
    body = await body_of(request)
    data = _encoded(body) if len(body) <= LIGHT_BYTES else await asyncio.to_thread(_encoded, body)
    return {"resourceType": "Binary", "contentType": content_type, **({"data": data} if data else {})}


def _encoded(body: bytearray) -> str:
    return b64encode(body).decode()


# --- reading


async def read(request: web.Request) -> web.StreamResponse:
    """GET {base}/Binary/{id}."""
    as_fhir = _wants_fhir(request)
    document = await _find(request, as_fhir=as_fhir)
    await _note_patients(request, document)
    response = web.StreamResponse(headers=_UNDISPLAYED)
    tag = f'"{document.version}"'  # Strong, for parts of it can be joined.
    response.headers[hdrs.ETAG] = f"W/{tag}" if as_fhir else tag
    if has_tag(listed(request, hdrs.IF_NONE_MATCH), tag):
        return web.Response(status=304, headers=response.headers)
    if as_fhir:
        return await _send_resource(request, response, document)
    return await _send_document(request, response, document, tag)


async def _note_patients(request: web.Request, document: Document) -> None:
    """Note in the audit whom a document is about, as far as what refers to it tells."""
    access = request.get(AUDITED)
    if access is None:
        return
    if isinstance(document.content, bytes):
        access.answers(ResourceKey("Binary", document.id), document.raw or b"")
    else:
        store, tenant = request.app[ATTACHMENTS], request[TENANT].tenant
        access.about(await store.patients_of(tenant, document.content.id))


async def vread(request: web.Request) -> web.StreamResponse:
    """GET {base}/Binary/{id}/_history/{version}."""
    return await read(request)


async def _find(request: web.Request, *, as_fhir: bool) -> Document:
    """Document that is asked for, if the caller may have it. Raises ServiceError."""
    tenant, document_id = request[TENANT].tenant, request.match_info["id"]
    asked = request.match_info.get("version")
    if FILE_ID.fullmatch(document_id):
        await _check_file(request, document_id)
        file = await request.app[ATTACHMENTS].find(tenant, document_id)
        if file is None or asked not in (None, "1"):
            raise ServiceError(Category.NOT_FOUND, _NO_SUCH)
        return _of_file(file)
    check_reading(request[PRINCIPAL], "Binary", "r")
    store, key = request.app[RESOURCES], ResourceKey("Binary", document_id)
    found = await (store.get(tenant, key) if asked is None else store.get_version(tenant, key, int(asked)))
    stored = await seen(request[PRINCIPAL], found, base=partial(base_of, request))
    return await _of_resource(request, stored, as_fhir=as_fhir)


async def _check_file(request: web.Request, file_id: str) -> None:
    """A file may be read by who may read Binary, or a type of which a current resource refers to it.

    Its id cannot be guessed, so whoever has it has seen such a resource, now or at an earlier version. It is
    there as long as one of them is: a document has no end of its own.
    """
    caller: Caller = request[PRINCIPAL]
    if caller.may("Binary", "r"):
        if not await request.app[ATTACHMENTS].is_shown(request[TENANT].tenant, file_id):
            raise ServiceError(Category.NOT_FOUND, _NO_SUCH)
        return
    types = [name for name in TYPES if caller.may(name, "r")]
    parts = [(name, part) for name in TYPES if name not in types and (part := caller.within(name, "r"))]
    tenant, files = request[TENANT].tenant, request.app[ATTACHMENTS]
    if (types or parts) and await files.is_referred_to(tenant, file_id, types=types, within=parts):
        return
    check_scope(caller, "Binary", "r")


def _of_file(file: File) -> Document:
    meta = {"versionId": "1", "lastUpdated": instant(file.stored_at).decode()}
    kind = file.content_type or UNKNOWN_TYPE
    resource: JsonObject = {"resourceType": "Binary", "id": file.id, "meta": meta, "contentType": kind}
    return Document(file.id, 1, resource, _served_type(kind), file)


async def _of_resource(request: web.Request, stored: Stored, *, as_fhir: bool) -> Document:
    resource = decode(stored.raw)
    file_id, kind = file_of_binary(resource), _served_type(resource.get("contentType"))
    if file_id is None:
        content = b"" if as_fhir else _decoded(resource.get("data", ""))
        return Document(stored.key.id, stored.version, resource, kind, content, stored.raw)
    file = await request.app[ATTACHMENTS].find(request[TENANT].tenant, file_id)
    if file is None:  # Files go after the last version that refers to them; unless a client wrote this.
        raise ServiceError(Category.NOT_FOUND, Issue("not-found", "the document is not there"))
    rest = {name: value for name, value in resource.items() if name not in ("data", "_data")}
    return Document(stored.key.id, stored.version, rest, kind, file)


def _decoded(data: object) -> bytes:
    try:
        return b64decode("".join(str(data).split()), validate=True)
    except ValueError:  # `binascii.Error` is one, and so is what is no ASCII.
        text = "`Binary.data` is not base64; ask for FHIR JSON to see it"
        raise ServiceError(Category.UNPROCESSABLE, Issue("value", text, ("Binary.data",))) from None


def _served_type(kind: object) -> str:
    return kind if isinstance(kind, str) and _SAFE_TYPE.fullmatch(kind) else UNKNOWN_TYPE


def _wants_fhir(request: web.Request) -> bool:
    """Whether the resource is asked for by name. `_format` wins over `Accept`. Raises 406 for XML."""
    wanted = request.query.get("_format")
    if wanted:
        refuse_unknown_format(wanted)
        return True
    named = {_range_of(part) for part in (listed(request, hdrs.ACCEPT) or "").lower().split(",")}
    accepted = {name for name, quality in named if quality > 0}
    if accepted & FHIR_TYPES:
        return True
    if accepted and accepted <= FHIR_XML:
        raise web.HTTPNotAcceptable(text="FHIR resources are served as JSON: `application/fhir+json`.")
    return False


def _range_of(part: str) -> tuple[str, float]:
    media = parse_mimetype(part.strip())
    name = f"{media.type}/{media.subtype}" + (f"+{media.suffix}" if media.suffix else "")
    try:
        return name, float(media.parameters.get("q", "1"))
    except ValueError:
        return name, 1.0


# --- sending


async def _send_document(
    request: web.Request, response: web.StreamResponse, document: Document, tag: str
) -> web.StreamResponse:
    headers = response.headers
    headers[hdrs.ACCEPT_RANGES] = "bytes"
    extension = mimetypes.guess_extension(document.content_type.partition(";")[0].strip()) or ""
    headers["Content-Disposition"] = f'attachment; filename="{document.id}{extension}"'
    condition = request.headers.get("If-Range")
    wanted = request.headers.get(hdrs.RANGE) if condition in (None, tag) else None
    try:
        part = parse(wanted, document.size)
    except Unsatisfiable:
        headers[hdrs.CONTENT_RANGE] = f"bytes */{document.size}"
        issue = Issue("value", "`Range` asks for bytes beyond the end", ("Range",))
        del headers["Content-Disposition"]
        return replies.fhir_json(render((issue,)), status=416, headers=headers)
    start, end = part or ByteRange(0, document.size)
    if part is not None:
        response.set_status(206)
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{document.size}"
    headers[hdrs.CONTENT_TYPE] = document.content_type
    response.content_length = end - start
    return await _stream(request, response, _content(request, document, start=start, end=end))


async def _send_resource(
    request: web.Request, response: web.StreamResponse, document: Document
) -> web.StreamResponse:
    if document.raw is not None:
        return replies.fhir_json(document.raw, headers=response.headers)
    head, tail = dump(document.resource)[:-1] + b',"data":"', b'"}'
    response.headers[hdrs.CONTENT_TYPE] = replies.FHIR_JSON
    response.content_length = len(head) + -(-document.size // 3) * 4 + len(tail)

    async def body() -> AsyncIterator[bytes]:
        yield head
        async for piece in _content(request, document, start=0, end=document.size):
            yield b64encode(piece)  # All but the last are divisible by three: the parts join.
        yield tail

    return await _stream(request, response, body())


async def _content(request: web.Request, document: Document, *, start: int, end: int) -> AsyncIterator[bytes]:
    if isinstance(document.content, bytes):
        yield document.content[start:end]
        return
    store, tenant = request.app[ATTACHMENTS], request[TENANT].tenant
    async for piece in store.read(tenant, document.content, start=start, end=end):
        yield piece


async def _stream(
    request: web.Request, response: web.StreamResponse, body: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send the body, its first piece fetched before anything is said: until then a failure has a status."""
    if AUDITED in request:
        await request[AUDITED].finish(response.status)
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    size = response.content_length or 0
    if size > SMALL_BYTES:
        hold(request, min(size, STREAM_BYTES))
    first = await anext(body, b"")
    try:
        async with in_time(request, size):
            await response.prepare(request)
            await response.write(first)
            async for piece in body:
                await response.write(piece)
            await response.write_eof()
    except ServiceError as error:
        extra = {"request_id": request.get(REQUEST_ID), "category": error.category.value}
        LOG.warning("a document broke off", exc_info=error, extra=extra)
        response.force_close()
        if request.transport is not None:
            request.transport.abort()  # Short of its length, it cannot be taken for the whole.
    return response
