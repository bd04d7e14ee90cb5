"""A page of stored bytes → the bytes of a searchset Bundle. No resource is parsed or serialised here.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/search.html#Response
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ingest.http.outcome import outcome
from ingest.unique import unique_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.search.links import Link
    from store.fhir.issues import Issue
    from store.resources.pages import Page
    from store.resources.resource_keys import ResourceKey


def render(page: Page, *, base: str, links: Iterable[Link], issues: Sequence[Issue] = ()) -> bytes:
    """The Bundle; `entry` is left out when there is none, as JSON in FHIR has no empty lists."""
    head: dict[str, Any] = {"resourceType": "Bundle", "id": unique_id(), "type": "searchset"}
    if page.total is not None:
        head["total"] = page.total
    head["link"] = [{"relation": link.relation, "url": link.url} for link in links]
    start = b',{"fullUrl":"%b/' % orjson.dumps(base)[1:-1]
    parts: list[bytes] = []  # Joined once: each copy of a page is tens of kilobytes.
    for entry in page.entries:
        parts += (start, _named(entry.key), entry.raw, _MATCH)
    for entry in page.included:
        parts += (start, _named(entry.key), entry.raw, _INCLUDE)
    if issues:
        parts += (b",", _outcome_entry(issues))
    if not parts:
        return orjson.dumps(head)
    parts[0] = parts[0][1:]
    return b"".join([orjson.dumps(head)[:-1], b',"entry":[', *parts, b"]}"])


_MATCH: Final = b',"search":{"mode":"match","score":1}}'
_INCLUDE: Final = b',"search":{"mode":"include"}}'


def _named(key: ResourceKey) -> bytes:
    """The end of a `fullUrl`, up to the resource. Types and ids hold nothing that JSON escapes."""
    return f'{key.type}/{key.id}","resource":'.encode()


def _outcome_entry(issues: Sequence[Issue]) -> bytes:
    """Entry that tells what was left out of the search; counts in no total."""
    entry = {
        "fullUrl": f"urn:uuid:{unique_id()}",
        "resource": outcome(issues),
        "search": {"mode": "outcome"},
    }
    return orjson.dumps(entry)
