"""Answers to pushes: status, `Location`, `ETag`, `Last-Modified`, body as `Prefer: return=` asks.

https://hl7.org/fhir/R4/http.html#ops
"""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate
from functools import lru_cache
from math import floor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from aiohttp import hdrs, web

from ingest.http.outcome import STATUS, issues_of, outcome, render
from ingest.http.preferences import returned
from ingest.pipeline.validation.tolerances import MENDED
from ingest.unique import unique_id
from store.fhir.issues import Issue
from store.resources.versions import Gone, Outcome, Stored, instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ingest.issue_budget import IssueBudget
    from ingest.writes.push import Pushed
    from store.errors import ServiceError

FHIR_JSON: Final = "application/fhir+json; charset=utf-8"
TOLERANCES: Final = "Dod-Tolerances"
"""Header that names the deviations from R4 that were mended in a pushed resource."""
_SAID: Final[Mapping[Outcome, str]] = {
    Outcome.CREATED: "Created.",
    Outcome.REPLACED: "Replaced: a new version.",
    Outcome.UNCHANGED: "Identical content is stored already: no new version.",
    Outcome.STALE: "Stale: what is current is newer by the source's own time. Kept in the history.",
    Outcome.EXISTS: "The condition holds for a resource that is stored already: nothing changed.",
}


def fhir_json(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A FHIR JSON response of finished bytes."""
    response = web.Response(body=body, status=status, headers=headers)
    response.headers[hdrs.CONTENT_TYPE] = FHIR_JSON
    return response


def version_headers(stored: Stored | Gone) -> dict[str, str]:
    """The headers that say which version it is."""
    return {
        hdrs.ETAG: etag(stored.version),
        hdrs.LAST_MODIFIED: http_date(stored.last_updated),
    }


def etag(version: int) -> str:
    """https://hl7.org/fhir/R4/http.html#versioning"""
    return f'W/"{version}"'


def http_date(moment: datetime) -> str:
    """A moment as HTTP writes it, whole seconds."""
    return _http_date(floor(moment.timestamp()))


@lru_cache(maxsize=64)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)  # All pushes of a second have the same.


class Reply(NamedTuple):
    """Content of the answer to a create or update."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    """None: the resource as it is stored."""


def reply(done: Pushed, *, base: str, prefer: str) -> Reply:
    """The answer to a create or update."""
    stored = done.result.stored
    headers = {} if done.veiled else version_headers(stored)
    headers[hdrs.LOCATION] = location(done, base=base)
    if done.tolerances:
        headers[TOLERANCES] = ", ".join(done.tolerances)
    status = 201 if done.result.outcome is Outcome.CREATED else 200
    if returned(prefer) == "minimal":
        return Reply(status, headers, b"")
    if returned(prefer) == "operationoutcome":
        return Reply(status, headers, render(_informed(done)))
    return Reply(status, headers, None)


def pushed(done: Pushed, *, base: str, prefer: str) -> web.Response:
    """Response that sends a reply."""
    status, headers, body = reply(done, base=base, prefer=prefer)
    return fhir_json(done.result.stored.raw if body is None else body, status=status, headers=headers)


def deleted(gone: Gone | None, *, prefer: str) -> web.Response:
    """The answer to a delete, also when there was nothing."""
    headers = version_headers(gone) if gone else None
    if returned(prefer) == "operationoutcome":
        said = "Deleted." if gone else "There was nothing to delete."
        issue = Issue("informational", said, severity="information")
        return fhir_json(render([issue]), headers=headers)
    return web.Response(status=204, headers=headers)


def location(done: Pushed, *, base: str) -> str:
    """URL of this version; of the resource alone where its sender may not know how often it changed."""
    stored = done.result.stored
    return f"{base}/{stored.key}" + ("" if done.veiled else f"/_history/{stored.version}")


def _informed(done: Pushed) -> list[Issue]:
    said = [Issue("informational", _SAID[done.result.outcome], severity="information")]
    mended = (f"{'Mended' if name in MENDED else 'Tolerated'}: `{name}`." for name in done.tolerances)
    texts = (*mended, *done.notes)
    said += [Issue("informational", text, severity="information") for text in texts]
    return said + [replace(issue, severity="warning") for issue in done.kept]


def entry_of(
    done: Pushed, *, base: str, issues: IssueBudget, tells: bool = False, shows: bool = False
) -> dict[str, Any]:
    """The entry of a response Bundle for a resource that was stored; its issues are of those of the whole."""
    stored = done.result.stored
    created = done.result.outcome is Outcome.CREATED
    response: dict[str, Any] = {
        "status": "201 Created" if created else "200 OK",
        "location": location(done, base=base),
    }
    if not done.veiled:
        response["etag"] = etag(stored.version)
        response["lastModified"] = instant(stored.last_updated).decode()
    if not created or done.tolerances or done.notes or tells:
        response["outcome"] = outcome(issues.told(_informed(done)))
    if not shows:
        return {"response": response}
    return {"fullUrl": f"{base}/{stored.key}", "resource": orjson.Fragment(stored.raw), "response": response}


def entry_of_read(stored: Stored, shown: bytes, *, base: str) -> dict[str, Any]:
    """The entry of a response Bundle for a resource that was read, and the part of it that is shown."""
    return {
        "fullUrl": f"{base}/{stored.key}",
        "resource": orjson.Fragment(shown),
        "response": {
            "status": "200 OK",
            "etag": etag(stored.version),
            "lastModified": instant(stored.last_updated).decode(),
        },
    }


def entry_of_unchanged(stored: Stored) -> dict[str, Any]:
    """The entry of a response Bundle for a read whose asker has the version already."""
    return {
        "response": {
            "status": "304 Not Modified",
            "etag": etag(stored.version),
            "lastModified": instant(stored.last_updated).decode(),
        },
    }


def entry_of_search(bundle: bytes) -> dict[str, Any]:
    """The entry of a response Bundle for a search: the searchset is its resource."""
    return {"resource": orjson.Fragment(bundle), "response": {"status": "200 OK"}}


def entry_of_deletion(gone: Gone | None) -> dict[str, Any]:
    """The entry of a response Bundle for a deletion."""
    etags = {} if gone is None else {"etag": etag(gone.version)}
    return {"response": {"status": "204 No Content", **etags}}


def entry_of_error(error: ServiceError, *, letter: str | None = None) -> dict[str, Any]:
    """The entry of a response Bundle for an interaction that was refused, and the dead letter it became."""
    issues = list(issues_of(error.category, error.issues))
    if letter is not None:
        issues.append(Issue("informational", f"Dead-Letter: {letter}", severity="information"))
    return {"response": {"status": str(STATUS[error.category]), "outcome": outcome(issues)}}


def response_bundle(kind: str, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """A Bundle of type batch-response or transaction-response."""
    bundle = {"resourceType": "Bundle", "id": unique_id(), "type": kind}
    return orjson.dumps({**bundle, "entry": list(entries)} if entries else bundle)
