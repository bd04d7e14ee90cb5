"""The one place where exceptions become HTTP: every refusal leaves as an OperationOutcome."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.auth.refusal import body_of, error_of_status
from api.http.app_keys import REQUEST_ID, SETTINGS
from api.http.misdirected import OPERATION, not_here, nothing_here
from api.http.routing import ROWS
from api.limits.limiter import ThrottledError
from ingest.data_model.replies import refused
from ingest.http.outcome import DEFAULT_ISSUE, STATUS, issue_of_status, issues_of, render
from ingest.http.replies import fhir_json
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.typedefs import Handler

LOG: Final = logging.getLogger("api.errors")
HEADERS: Final[Mapping[Category, Mapping[str, str]]] = {
    Category.UNAUTHENTICATED: {hdrs.WWW_AUTHENTICATE: 'Bearer realm="dod", error="invalid_token"'},
    Category.UNAVAILABLE: {hdrs.RETRY_AFTER: "1"},
    Category.THROTTLED: {hdrs.RETRY_AFTER: "1"},
}
"""Header fields of a category, beside its status."""
TOKEN: Final = "token"  # noqa: S105 (the name of a row)
"""Name of the token endpoint's row."""
BODY_HEADERS: Final = frozenset({"content-type", "content-length"})
MEDIA_TYPE_MAX: Final = 200
"""Characters of a `Content-Type`."""
LONG_MEDIA_TYPE: Final = f"`Content-Type` has at most {MEDIA_TYPE_MAX} characters."
BROKEN_BODY: Final = Issue("structure", "The body broke off or cannot be decoded.")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with what the handler says, or with an OperationOutcome of what it raised."""
    try:
        _refuse_long_media_type(request)
        return await handler(request)
    except ServiceError as error:
        response = answer_of(request, error)
        error.__traceback__ = None  # A frame that still knows of it would keep the request and its body.
        return response
    except web.HTTPException as error:
        return _of_http(request, error)
    except web.RequestPayloadError:
        return _said(request, (BROKEN_BODY,), 400)
    except Exception:  # The only one: nothing may leave as plain text.
        LOG.exception("unexpected error", extra={"request_id": request.get(REQUEST_ID)})
        return _said(request, (DEFAULT_ISSUE[Category.FAULT],), STATUS[Category.FAULT])


def _refuse_long_media_type(request: web.Request) -> None:
    """Raise 415 for a `Content-Type` that would hold up the process: aiohttp takes 12 seconds for 16 kB."""
    if len(request.headers.get(hdrs.CONTENT_TYPE, "")) > MEDIA_TYPE_MAX:
        raise web.HTTPUnsupportedMediaType(text=LONG_MEDIA_TYPE)


def answer_of(request: web.Request, error: ServiceError) -> web.Response:
    """The OperationOutcome of a refusal of ours."""
    status = STATUS[error.category]
    # A refusal for want of room or of a database has no cause: each would be a traceback, by the thousand.
    if status >= STATUS[Category.FAULT] and (error.__cause__ or error.category is not Category.UNAVAILABLE):
        extra = {"request_id": request.get(REQUEST_ID), "category": error.category.value}
        LOG.warning("the store failed", exc_info=error, extra=extra)
    issues = issues_of(error.category, error.issues)
    own = error.headers if isinstance(error, ThrottledError) else HEADERS.get(error.category)
    return _said(request, issues, status, own)


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """A refusal of aiohttp, with its headers (`Allow` …) but our body."""
    headers = {name: value for name, value in error.headers.items() if name.lower() not in BODY_HEADERS}
    if error.status < web.HTTPBadRequest.status_code:  # A redirect or 304 is no failure.
        return web.Response(status=error.status, headers=headers)
    if error is request.match_info.http_exception:
        body = _unrouted(request, error.status, error.headers.get(hdrs.ALLOW, ""))
        return fhir_json(body, status=error.status, headers=headers)
    issue = issue_of_status(error.status, error.text or error.reason)
    return _said(request, (issue,), error.status, headers)


def _said(
    request: web.Request, issues: Sequence[Issue], status: int, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A refusal in the words of its route: an OperationOutcome, upstream's envelope, or OAuth's."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is not None and row.name == TOKEN:
        body = body_of(error_of_status(status), " ".join(issue.text for issue in issues))
        headers = {**(headers or {}), hdrs.CACHE_CONTROL: "no-store"}
    elif row is not None and row.data_model:
        body = refused(request.get(REQUEST_ID, ""), issues)
    else:
        return fhir_json(render(issues), status=status, headers=headers)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _unrouted(request: web.Request, status: int, allowed: str) -> bytes:
    """Reason why the router found nothing; an operation is named, for senders try several."""
    if status != web.HTTPNotFound.status_code:
        whole = request.app[SETTINGS].role == "all"
        return render((issue_of_status(status, not_here(allowed, whole=whole)),))
    paths = {row.path.rpartition("/")[2] for row in request.app[ROWS].values()}
    text = nothing_here(request.path, [path for path in paths if path.startswith("$")])
    if OPERATION.search(request.path):
        return render((Issue("not-supported", text),), coding="MSG_NO_MODULE")
    return render((issue_of_status(status, text),))
