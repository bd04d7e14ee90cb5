"""Subscriptions as they are read back, alone and in searchsets, and which of them a search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson

from api.subscriptions.requested import utc
from ingest.http.body import body_of
from ingest.unique import unique_id
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.parsing.context import shown
from store.search.parsing.query_text import TEXT_MAX, pairs_of, pairs_of_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiohttp import web

    from store.search.parsing.query_text import Pair
    from store.subscriptions.records import Subscription


def resource(one: Subscription) -> dict[str, Any]:
    """The Subscription as a client reads it: with its status, and without its secrets."""
    kept: dict[str, Any] = orjson.loads(one.resource)
    meta = {**kept.get("meta", {}), "versionId": str(one.version), "lastUpdated": utc(one.updated)}
    error = {"error": one.problem} if one.problem else {}
    first = {"resourceType": "Subscription", "id": one.id, "meta": meta, "status": one.status.value}
    return {**first, **{name: value for name, value in kept.items() if name not in first}, **error}


def url_of(path: str, pairs: Sequence[Pair]) -> str:
    """The URL of a question, as it was understood."""
    return f"{path}?{urlencode(pairs, safe='$|/:,')}" if pairs else path


def searchset(found: Iterable[Subscription], *, base: str, pairs: Sequence[Pair] = ()) -> bytes:
    """The searchset of these subscriptions, all on one page."""
    entries = [
        {
            "fullUrl": f"{base}/Subscription/{one.id}",
            "resource": resource(one),
            "search": {"mode": "match", "score": 1},
        }
        for one in found
    ]
    link = [{"relation": "self", "url": url_of(f"{base}/Subscription", pairs)}]
    bundle = {
        "resourceType": "Bundle",
        "id": unique_id(),
        "type": "searchset",
        "total": len(entries),
        "link": link,
    }
    return orjson.dumps({**bundle, "entry": entries} if entries else bundle)


_PARAMETERS: Final[Mapping[str, Callable[[Subscription, str], bool]]] = {
    "_id": lambda one, text: one.id == text,
    "status": lambda one, text: one.status.value == text.lower(),
    "type": lambda _, text: text.lower() == "rest-hook",
    "payload": lambda _, text: text.lower() in ("application/fhir+json", "application/json"),
    "url": lambda one, text: one.channel.endpoint == text,
    "criteria": lambda one, text: one.topic.lower().startswith(text.lower()),
    "topic": lambda one, text: one.topic.lower().startswith(text.lower()),
}
_SILENT: Final = frozenset({"_format", "_pretty", "_count", "_total"})


def refuse_unknown(pairs: Sequence[Pair]) -> None:
    """Raise ServiceError for a parameter that is not known, whatever there is to find."""
    unknown = [name for name, _ in pairs if name not in _PARAMETERS and name not in _SILENT]
    if unknown:
        known = ", ".join(f"`{name}`" for name in _PARAMETERS)
        issue = Issue("not-supported", f"a search of Subscriptions takes {known}", (shown(unknown[0]),))
        raise ServiceError(Category.INCORRECT, issue)


def matches(one: Subscription, pairs: Sequence[Pair]) -> bool:
    """Whether a subscription is found. What has no value asks for nothing (`DECISIONS.md#empty-values`)."""
    return all(
        any(_PARAMETERS[name](one, text) for text in value.split(",") if text)
        for name, value in pairs
        if name in _PARAMETERS and value.strip(",")
    )


async def pairs_in(request: web.Request) -> list[Pair]:
    """The parameters in the URL, and in the form of a POST."""
    pairs = pairs_of(request.rel_url.raw_query_string)
    if request.method == "POST":
        pairs += pairs_of_form(await body_of(request, most=TEXT_MAX))
    return pairs
