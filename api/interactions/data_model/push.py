"""Results in upstream's Data Model: `POST /endpoint`, or `POST {base}/$data-model` for one tenant.

A message becomes a FHIR message, and goes the way of those. Its answer has the request's id in `Meta.Logs`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from api.http.app_keys import REQUEST_ID
from api.interactions.data_model.entered import in_tenant
from api.interactions.data_model.tenants import enter_tenant, meta_of, refuse_test, source_of
from api.interactions.data_model.upload import refuse_larger, release, uploaded
from ingest.data_model import replies
from ingest.data_model.models import Meta, ResultsNew, fault, read
from ingest.data_model.to_fhir import EVENTS, translate
from ingest.data_model.uploads import refer
from ingest.handlers import push_context
from ingest.http.app_keys import INGEST_SETTINGS, TENANT
from ingest.http.body import body_of
from ingest.http.letter_keeper import CONTENT, DEAD_LETTER, REPLAY, keep_message
from ingest.http.parsing import parsed
from ingest.messages import delivery
from ingest.pipeline.identity.decisions import findings_of
from store.errors import Category, ServiceError
from store.resources.versions import Outcome

if TYPE_CHECKING:
    from ingest.http.parsing import Parsed

MODEL: Final = "Results"
OPERATION: Final = "data-model"
PATH: Final = "$data-model"
"""Path of messages below the tenant's base."""
JSON: Final = "application/json"
_RESULTS: Final = frozenset({"DiagnosticReport", "Observation"})
NOBODY: Final = Meta()
"""The `Meta` of a body that has none which can be read."""


async def receive(request: web.Request) -> web.StreamResponse:
    """POST /endpoint, POST {base}/$data-model."""
    try:
        found = await parsed(request)
        meta = await found.work(meta_of, found.resource)
    except ServiceError as error:
        await _keep_unread(request, error)
        raise
    await enter_tenant(request, meta)
    return await in_tenant(request, lambda: _received(request, found, meta))


async def _received(request: web.Request, found: Parsed, meta: Meta) -> web.StreamResponse:
    try:
        refuse_test(request, meta)
        warnings = await _stored(request, found, meta)
    except ServiceError as error:
        await _keep(request, error)
        raise
    told = replies.envelope(request[REQUEST_ID], model=MODEL, event=meta.EventType)
    if warnings:
        told["Warnings"] = warnings
    return json({"Meta": told})


async def _stored(request: web.Request, found: Parsed, meta: Meta) -> list[dict[str, str]]:
    """Store a message; what its answer warns of. Raises ServiceError, placed in the message."""
    _refuse_event(meta)
    source, organization = source_of(request, meta), request[TENANT].tenant.organization
    message = await found.work(read, ResultsNew, found.resource)
    refuse_larger(message, request.app[INGEST_SETTINGS].upload_bytes_max)
    translation = await found.work(translate, message, source.profile, organization)
    files = await uploaded(push_context(request), message)
    refer(translation.bundle, files)
    size = len(await body_of(request))
    documents = size > request.app[INGEST_SETTINGS].attachment_inline_bytes_max
    uploads = frozenset(str(one["url"]).rpartition("/")[2] for one in files.values())
    ctx = push_context(request, documents=documents, work=found.work)._replace(uploads=uploads)
    try:
        done = await delivery.message(ctx, translation.bundle, strict=ctx.strict)
    except ServiceError as error:
        placed = [translation.at_origin(one) for one in error.issues]
        raise ServiceError(error.category, *placed) from error
    await release(ctx, files)
    refused = [one for one in done if isinstance(one, ServiceError)]
    stored = [one for one in done if not isinstance(one, ServiceError)]
    if refused:  # The rest is stored; the same again, once it is right, changes only what was wrong.
        placed = [translation.at_origin(issue) for one in refused for issue in one.issues]
        raise ServiceError(Category.UNPROCESSABLE, *placed)
    doubts = findings_of(note for one in stored for note in one.notes)
    late = any(
        one.result.outcome is Outcome.STALE and one.result.stored.key.type in _RESULTS for one in stored
    )
    return [
        *replies.unmapped(translation.unknown),
        *replies.unread(translation.unread),
        *replies.doubted(doubts),
        *replies.outdated(late=late),
    ]


def _refuse_event(meta: Meta) -> None:
    """Refuse what is no results. Raises ServiceError."""
    issues = []
    if meta.DataModel != MODEL:
        issues.append(fault("$.Meta.DataModel", f"must be `{MODEL}` here", "not-supported"))
    if meta.EventType not in EVENTS:
        names = " or ".join(f"`{name}`" for name in EVENTS)
        rule = f"must be {names} here; queries go to `/query`"
        issues.append(fault("$.Meta.EventType", rule, "not-supported"))
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)


async def _keep_unread(request: web.Request, error: ServiceError) -> None:
    """Keep a body that names no tenant, as a letter of the tenant of the URL, or of a token for one alone."""
    with suppress(ServiceError):
        await enter_tenant(request, NOBODY)
    if TENANT in request:
        await _keep(request, error)


async def _keep(request: web.Request, error: ServiceError) -> None:
    """Keep a message that is refused for its content, to be replayed at its tenant."""
    if error.category not in CONTENT or REPLAY in request or DEAD_LETTER in request:
        return
    body = bytes(await body_of(request))
    letter = await keep_message(request, OPERATION, PATH, body, error) if body else None
    if letter is not None:
        request[DEAD_LETTER] = letter


def json(body: dict[str, Any]) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=replies.rendered(body), content_type=JSON)
