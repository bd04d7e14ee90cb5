"""Errors as FHIR says them: category → status, category → default issue, issues → OperationOutcome bytes.

Pure. `api.middleware.errors` is the caller; bundle replies and searches render issues with it too.
https://hl7.org/fhir/R4/operationoutcome.html, https://hl7.org/fhir/R4/http.html#Status-Codes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from store.errors import Category
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MESSAGE_CODES: Final = "http://terminology.hl7.org/CodeSystem/operation-outcome"
"""System of the codings such as `MSG_NO_MODULE` that R4 asks for beside the issue code."""

STATUS: Final[Mapping[Category, int]] = {
    Category.INCORRECT: 400,
    Category.UNSUPPORTED: 400,
    Category.UNPROCESSABLE: 422,
    Category.UNAUTHENTICATED: 401,
    Category.FORBIDDEN: 403,
    Category.NOT_FOUND: 404,
    Category.GONE: 410,
    Category.CONFLICT: 409,
    Category.PRECONDITION: 412,
    Category.TOO_LARGE: 413,
    Category.TIMEOUT: 504,
    Category.UNAVAILABLE: 503,
    Category.THROTTLED: 429,
    Category.FAULT: 500,
}

DEFAULT_ISSUE: Final[Mapping[Category, Issue]] = {
    Category.INCORRECT: Issue("invalid", "The request breaks a rule."),
    Category.UNSUPPORTED: Issue("not-supported", "This is not supported here."),
    Category.UNPROCESSABLE: Issue("processing", "The content breaks a rule."),
    Category.UNAUTHENTICATED: Issue("login", "A valid bearer token is needed."),
    Category.FORBIDDEN: Issue("forbidden", "The token does not allow this."),
    Category.NOT_FOUND: Issue("not-found", "There is nothing here."),
    Category.GONE: Issue("deleted", "It is not here any more."),
    Category.CONFLICT: Issue("conflict", "Somebody else changed it meanwhile, or it exists already."),
    Category.PRECONDITION: Issue("conflict", "The condition stated in the request does not hold."),
    Category.TOO_LARGE: Issue("too-long", "The request is too large."),
    Category.TIMEOUT: Issue("timeout", "The database did not answer in time."),
    Category.UNAVAILABLE: Issue("transient", "The database cannot be reached; try again."),
    Category.THROTTLED: Issue("throttled", "Too many requests at a time; try again more slowly."),
    Category.FAULT: Issue("exception", "internal error"),
}
"""Issue that is given when the error itself brings none."""

STATUS_CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    408: "timeout",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    414: "too-long",
    415: "not-supported",
    417: "not-supported",
    421: "not-found",
    422: "processing",
    429: "throttled",
    431: "too-long",
    501: "not-supported",
}
"""HTTP status → issue code, for the refusals that aiohttp itself raises."""


def issues_of(category: Category, issues: Sequence[Issue]) -> Sequence[Issue]:
    """The issues an error brings, or the default one of its category."""
    return issues or (DEFAULT_ISSUE[category],)


def issue_of_status(status: int, text: str) -> Issue:
    """The issue that stands for a plain HTTP refusal."""
    fallback = "processing" if status < 500 else "exception"  # noqa: PLR2004 (where HTTP splits)
    return Issue(STATUS_CODES.get(status, fallback), text)


def outcome(issues: Sequence[Issue], *, coding: str | None = None) -> dict[str, Any]:
    """The OperationOutcome as JSON values; `coding` is the `MSG_…` code of the first issue."""
    rendered = [_issue(issue) for issue in issues]
    if coding:
        rendered[0]["details"]["coding"] = [{"system": MESSAGE_CODES, "code": coding}]
    return {"resourceType": "OperationOutcome", "issue": rendered}


def render(issues: Sequence[Issue], *, coding: str | None = None) -> bytes:
    """The OperationOutcome as JSON bytes. There is at least one issue, as R4 asks."""
    return orjson.dumps(outcome(issues, coding=coding))


def _issue(issue: Issue) -> dict[str, Any]:
    text = _sound(issue.text)
    shown: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "details": {"text": text},
        "diagnostics": text,  # Some clients show this alone, HAPI's among them.
    }
    if issue.expression:
        shown["expression"] = [_sound(one) for one in issue.expression]
    return shown


def _sound(text: str) -> str:
    """The text without surrogates, which a header that is no UTF-8 brings and JSON cannot hold."""
    return text if text.isascii() else text.encode(errors="replace").decode()
