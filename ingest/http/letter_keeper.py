"""Refused pushes become dead letters: which of them, what of a request is kept, and what the sender is told.

The answer waits for the letter to be durable, but no longer than a moment: past it the refusal goes out
without the letter's id, and the letter is written behind it. A refusal never becomes another failure.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from ingest.http.app_keys import CLOCK, PRINCIPAL, TENANT, base_of, origin_of
from ingest.http.body import BODY
from ingest.http.outcome import STATUS, issues_of
from ingest.pipeline import json_patch as patch
from ingest.pipeline.bundle_entries import at_entry, relative, url_of
from ingest.pipeline.stamp import dump
from ingest.pipeline.validation.structure import ISSUES_MAX
from ingest.work import unhurried
from store.dead_letters import Refused
from store.detached import detached
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from ingest.metrics import RefusalMetrics
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.writes.push_context import RefusedEntry
    from store.dead_letters import DeadLetters
    from store.fhir.datatypes import JsonObject
    from store.tenancy import Tenant

REFUSALS: Final[web.AppKey[Refusals]] = web.AppKey("refusals")
DEAD_LETTER: Final[web.RequestKey[str]] = web.RequestKey("dead_letter")
"""Id of the letter that this refused push became."""
REPLAY: Final[web.RequestKey[Replay]] = web.RequestKey("replay")
"""Key that is there when the request is a dead letter, pushed again."""


LOG: Final = logging.getLogger("ingest.refusals")
FHIR: Final = "application/fhir+json"
HEADER: Final = "Dead-Letter"
"""Names the letter in the answer to a refused push."""
CONTENT: Final = frozenset(
    {Category.INCORRECT, Category.UNSUPPORTED, Category.UNPROCESSABLE, Category.TOO_LARGE}
)
"""Statuses of refusals for the content. The rest is about credentials, conditions, or the database: the
sender can do something, or try again, and the content was not looked at."""
HEADERS: Final = (
    hdrs.CONTENT_TYPE,
    "If-None-Exist",
    hdrs.IF_MATCH,
    hdrs.IF_NONE_MATCH,
    "Prefer",
    "Idempotency-Key",
)
"""Header fields that change what a push does."""
WAIT_SECONDS: Final = 1.0
"""Longest that an answer waits for its letter; a write takes some milliseconds."""
WAITING_BYTES_MAX: Final = 128_000_000
"""Bytes of bodies that wait to be kept; past it they are not: memory is for pushes that are right."""
_ENTRY_HEADERS: Final[Mapping[str, str]] = {
    "ifNoneExist": "If-None-Exist",
    "ifMatch": hdrs.IF_MATCH,
    "ifNoneMatch": hdrs.IF_NONE_MATCH,
}
"""Conditions of a Bundle's entry, as the headers that they stand for."""


class Refusals:
    """Keeps letters beside the answers, within bounds of memory and time."""

    def __init__(self, letters: DeadLetters, metrics: RefusalMetrics) -> None:
        self._letters = letters
        self._metrics = metrics
        self._waiting = 0
        self._tasks: set[asyncio.Task[str | None]] = set()

    async def keep(self, tenant: Tenant, refused: Refused) -> str | None:
        """The letter's id once it is durable; None when that takes too long or cannot be."""
        size = len(refused.body)
        if self._waiting + size > WAITING_BYTES_MAX:
            self._metrics.lost("busy")
            return None
        self._waiting += size
        task = detached(self._keep(tenant, refused))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait({task}, timeout=WAIT_SECONDS)
        return task.result() if done else None

    async def _keep(self, tenant: Tenant, refused: Refused) -> str | None:
        try:
            letter_id = await self._letters.keep(tenant, refused)
        except ServiceError as error:
            self._metrics.lost(error.category.value)
            LOG.warning("a dead letter could not be kept", extra={"category": error.category.value})
            return None
        finally:
            self._waiting -= len(refused.body)
        self._metrics.kept(refused.issues[0].code)
        return letter_id

    async def drain(self) -> None:
        """Wait for letters that are being written."""
        while self._tasks:
            await asyncio.wait(self._tasks)


@dataclass(frozen=True, slots=True)
class Replay:
    """Marks a request as a letter's replay: it makes no letter of its own, and no second resource."""

    new_id: Callable[[], str]
    """Ids for creates, the same ones each time this letter is replayed."""
    since: datetime
    """Moment at which the letter came last."""


def keep_refused(operation: str, handler: Handler) -> Handler:
    """The handler, with its refusals kept as dead letters."""

    @wraps(handler)
    async def kept(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ServiceError as error:
            if error.category in CONTENT and REPLAY not in request:
                letter_id = await _keep_request(request, operation, error)
                if letter_id is not None:
                    request[DEAD_LETTER] = letter_id
            raise

    return kept


async def _keep_request(request: web.Request, operation: str, error: ServiceError) -> str | None:
    body = request.get(BODY)  # What was refused without a look at its body has brought none.
    if not body:
        return None
    # aiohttp keeps bytes that are not UTF-8 as surrogates, which BSON cannot.
    headers = {
        name: request.headers[name].encode(errors="replace").decode()
        for name in HEADERS
        if name in request.headers
    }
    refused = _refused(
        request,
        error,
        operation=operation,
        method=request.method,
        path=_under_base(request),
        headers=headers,
        body=body,
    )
    return await request.app[REFUSALS].keep(request[TENANT].tenant, refused)


async def keep_message(
    request: web.Request, operation: str, path: str, message: bytes, error: ServiceError
) -> str | None:
    """Keep one message of a body as a letter, as if it had been pushed alone.

    Returns the id of the letter; None: none could be kept.
    """
    kind = request.headers.get(hdrs.CONTENT_TYPE, "text/plain").encode(errors="replace").decode()
    refused = _refused(
        request,
        error,
        operation=operation,
        method=hdrs.METH_POST,
        path=path,
        headers={hdrs.CONTENT_TYPE: kind},
        body=message,
    )
    return await request.app[REFUSALS].keep(request[TENANT].tenant, refused)


ENTRY_LETTERS_MAX: Final = 100
"""Letters that the entries of one Bundle may become; thousands would push out everybody else's."""


def entry_keeper(
    request: web.Request,
) -> Callable[[Sequence[RefusedEntry]], Awaitable[list[str | None]]]:
    """Keeps entries that a Bundle refused, and gives each one's letter: the push that it stands for.

    Past `ENTRY_LETTERS_MAX` the rest are one letter together, a batch.
    """

    async def keep(entries: Sequence[RefusedEntry]) -> list[str | None]:
        keeper, tenant = request.app[REFUSALS], request[TENANT].tenant
        base = base_of(request)
        found = {n: _push_of(entry, error, base) async for n, (entry, error) in unhurried(enumerate(entries))}
        pushes = {n: push for n, push in found.items() if push is not None}
        alone = list(pushes)[:ENTRY_LETTERS_MAX]
        rest = list(pushes)[ENTRY_LETTERS_MAX:]
        kept = await asyncio.gather(
            *(keeper.keep(tenant, _refused(request, entries[n][1], **pushes[n])) for n in alone)
        )
        letters: dict[int, str | None] = dict(zip(alone, kept, strict=True))
        if rest:
            together = await asyncio.to_thread(_together, request, [entries[n] for n in rest])
            letters |= dict.fromkeys(rest, await keeper.keep(tenant, together))
        return [letters.get(n) for n in range(len(entries))]

    return keep


def _push_of(entry: BundleEntry, error: ServiceError, base: str) -> dict[str, Any] | None:
    """The push that an entry stands for; None: there is none, or nothing to keep."""
    if error.category not in CONTENT or entry.resource is None or entry.request is None:
        return None
    method, url = entry.request.get("method"), url_of(entry)
    if method not in _OPERATIONS or url is None:
        return None
    path = relative(url, base)
    if path is None:  # What is to be fixed is the URL, so the whole entry is kept.
        return _batch_of([entry])
    body, kind = dump(entry.resource), FHIR
    if method == "PATCH":
        try:
            body, kind = patch.document(entry.resource, "Bundle.entry.resource"), patch.FORMAT
        except ServiceError:
            return None
    given = {header: entry.request.get(name) for name, header in _ENTRY_HEADERS.items()}
    headers = {name: value for name, value in given.items() if isinstance(value, str)}
    return {
        "operation": _OPERATIONS[method],
        "method": method,
        "path": path,
        "headers": {hdrs.CONTENT_TYPE: kind, **headers},
        "body": body,
    }


def _together(request: web.Request, entries: Sequence[RefusedEntry]) -> Refused:
    """Entries as one batch, with the first reasons."""
    issues = [at_entry(issue, n) for n, (_, error) in enumerate(entries) for issue in error.issues]
    worst = ServiceError(Category.UNPROCESSABLE, *issues[:ISSUES_MAX])
    return _refused(request, worst, **_batch_of([entry for entry, _ in entries]))


def _batch_of(entries: Sequence[BundleEntry]) -> dict[str, Any]:
    """The push of these as a batch."""
    bundle: JsonObject = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": entry.resource, "request": entry.request} for entry in entries],
    }
    return {
        "operation": "batch",
        "method": hdrs.METH_POST,
        "path": "",
        "headers": {hdrs.CONTENT_TYPE: FHIR},
        "body": dump(bundle),
    }


_OPERATIONS: Final[Mapping[object, str]] = {"POST": "create", "PUT": "update", "PATCH": "patch"}
"""Methods of entries that carry a resource, and the routes they stand for."""


def _refused(request: web.Request, error: ServiceError, **push: Any) -> Refused:  # noqa: ANN401 (of Refused)
    caller = request[PRINCIPAL]
    return Refused(
        origin=origin_of(request),
        client=caller.client,
        token_id=caller.token_id,
        scopes=caller.scopes,
        status=STATUS[error.category],
        issues=tuple(issues_of(error.category, error.issues)),
        at=request.app[CLOCK](),
        **push,
    )


def _under_base(request: web.Request) -> str:
    """Path and query below `/fhir/R4/{organization}/{environment}`."""
    segments = request.rel_url.raw_path.split("/", 5)
    path = segments[5] if len(segments) > 5 else ""  # noqa: PLR2004 (empty, fhir, R4, two of the tenant)
    query = request.rel_url.raw_query_string
    return f"{path.rstrip('/')}?{query}" if query else path.rstrip("/")


async def say_letter(request: web.Request, response: web.StreamResponse) -> None:
    """Name the letter on the answer; the application's `on_response_prepare`."""
    letter_id = request.get(DEAD_LETTER)
    if letter_id is not None:
        response.headers[HEADER] = letter_id
