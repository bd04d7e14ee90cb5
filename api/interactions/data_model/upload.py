"""Files for Data Model messages: `POST /upload` or `POST {base}/$upload` gives a URI that a message may name.

The file is the uploading client's, and no part of any resource until a message of that client refers to it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.helpers import parse_mimetype

from api.http.app_keys import REQUEST_ID
from api.interactions.data_model.entered import in_tenant
from api.interactions.data_model.tenants import enter_tenant, meta_of
from ingest.data_model import replies
from ingest.data_model.models import fault
from ingest.data_model.to_fhir import EMBEDDED
from ingest.data_model.uploads import PATH, Owner
from ingest.data_model.values import kind_of
from ingest.handlers import push_context
from ingest.http.app_keys import INGEST_SETTINGS, origin_of
from ingest.http.body import body_of
from ingest.http.multipart import file_of
from ingest.pipeline.documents import Naming, attachment_of
from ingest.writes.push import check_scope
from store.errors import Category, ServiceError
from store.files import CHUNK_BYTES, NewFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ingest.data_model.models import ResultsNew
    from ingest.http.multipart import Part
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.fhir.issues import Issue

MULTIPART: Final = frozenset({"multipart/form-data"})
AROUND_BYTES: Final = 65_536
"""Bytes of a form around its file."""
_CREATED: Final = 201
_REPORT: Final = "DiagnosticReport"
_URI_MAX: Final = 2_000
"""Characters of a value that may be a URI; longer ones are files themselves."""


async def upload(request: web.Request) -> web.StreamResponse:
    """POST /upload, with `?destination=` where the token is for several tenants; POST {base}/$upload."""
    destination = request.rel_url.query.get("destination")
    named = {"Destinations": [{"ID": destination}]} if destination else {}
    await enter_tenant(request, meta_of({"Meta": named}))
    return await in_tenant(request, lambda: _uploaded(request))


async def _uploaded(request: web.Request) -> web.StreamResponse:
    ctx, settings = push_context(request), request.app[INGEST_SETTINGS]
    check_scope(ctx.caller, _REPORT, "cu")  # A file is for a report that its client will push.
    part = await _part(request, settings.upload_bytes_max)
    file = await asyncio.to_thread(_new_file, part, Naming(ctx.tenant, ctx.secret))
    until = ctx.clock() + timedelta(seconds=settings.upload_seconds)
    await ctx.attachments.put(ctx.tenant, [file])
    await ctx.attachments.hold(ctx.tenant, [file.id], until=until)
    uri = _owner(ctx).uri(origin_of(request), file.id, until)
    told = {"URI": uri, "Meta": replies.envelope(request[REQUEST_ID])}
    return web.Response(
        body=replies.rendered(told),
        status=_CREATED,
        content_type="application/json",
        headers={"Location": uri},
    )


async def _part(request: web.Request, most: int) -> Part:
    """The file in the body. Raises ServiceError."""
    try:
        body = await body_of(request, most=most + AROUND_BYTES)
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(most) from None
    boundary = parse_mimetype(request.headers.get("Content-Type", "")).parameters.get("boundary", "")
    part = file_of(body, boundary)
    if len(part.content) > most:
        raise _too_large(most)
    if not part.content:
        raise ServiceError(Category.INCORRECT, fault("$", "The file is empty.", "required"))
    return part


def refuse_larger(message: ResultsNew, most: int) -> None:
    """Refuse embedded documents that no upload may have the size of. Raises ServiceError with each."""
    rule = (
        f"is a document of more than {most:,} bytes (`DOD_UPLOAD_BYTES_MAX`): send a smaller one, or several"
    )
    issues = [
        fault(f"$.Orders[{n}].Results[{m}].Value", rule, "too-long")
        for n, order in enumerate(message.Orders)
        for m, result in enumerate(order.Results)
        if kind_of(result.ValueType) == EMBEDDED and result.Value and _bytes_of(result.Value, most) > most
    ]
    if issues:
        raise ServiceError(Category.TOO_LARGE, *issues)


def _bytes_of(base64: str, most: int) -> int:
    """Bytes that a Base64 text stands for; its blanks are looked for where it could be too long."""
    size = len(base64) * 3 // 4
    return size if size <= most else (len(base64) - sum(map(base64.count, "\r\n\t ="))) * 3 // 4


def _too_large(most: int) -> ServiceError:
    rule = f"A file may have {most:,} bytes (`DOD_UPLOAD_BYTES_MAX`): send a smaller one, or several."
    return ServiceError(Category.TOO_LARGE, fault("$", rule, "too-long"))


def _new_file(part: Part, naming: Naming) -> NewFile:
    content = part.content
    file_id = naming.id_of(part.content_type, sha256(content).hexdigest())
    digest = sha1(content, usedforsecurity=False).digest()
    return NewFile(file_id, len(content), digest, part.content_type, partial(_pieces, content))


def _pieces(content: memoryview) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield bytes(content[start : start + CHUNK_BYTES])


def _owner(ctx: PushContext) -> Owner:
    return Owner(ctx.tenant, ctx.caller.client, ctx.secret)


# --- messages that refer to uploads


async def uploaded(ctx: PushContext, message: ResultsNew) -> Mapping[str, JsonObject]:
    """Attachments by the URIs of uploads that a message names. Raises ServiceError with every fault."""
    owner, now = _owner(ctx), ctx.clock()
    found: dict[str, JsonObject] = {}
    issues: list[Issue] = []
    for path, uri in _values(message):
        try:
            file_id = owner.file_of(uri, now)
        except ValueError as error:
            issues.append(fault(path, str(error), "not-found"))
            continue
        if file_id is None:
            continue
        # First of all it is made safe from the collector, then looked for.
        await ctx.attachments.keep(ctx.tenant, [file_id])
        file = await ctx.attachments.find(ctx.tenant, file_id)
        if file is None:
            issues.append(fault(path, "is the URI of a file that is not there: upload it again", "not-found"))
        else:
            found[uri] = attachment_of(file)
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    return found


def _values(message: ResultsNew) -> Iterator[tuple[str, str]]:
    """JSON paths and values that may be URIs of uploads."""
    for n, order in enumerate(message.Orders):
        for m, result in enumerate(order.Results):
            if result.Value and len(result.Value) <= _URI_MAX and PATH in result.Value:
                yield f"$.Orders[{n}].Results[{m}].Value", result.Value.strip()


async def release(ctx: PushContext, attachments: Mapping[str, JsonObject]) -> None:
    """Have files that resources refer to now be like all others: erased and forgotten with these."""
    names = [str(one["url"]).rpartition("/")[2] for one in attachments.values()]
    await ctx.attachments.release(ctx.tenant, names)
