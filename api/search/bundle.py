"""A page of stored bytes → the bytes of a searchset Bundle. No resource is parsed or serialised here.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/search.html#Response
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from ingest.outcome import outcome
from ingest.unique import unique_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.search.links import Link
    from store.fhir.issues import Issue
    from store.resources import Page


def render(page: Page, *, base: str, links: Iterable[Link], issues: Sequence[Issue] = ()) -> bytes:
    """The Bundle; `entry` is left out when there is none, as JSON in FHIR has no empty lists."""
    head: dict[str, Any] = {"resourceType": "Bundle", "id": unique_id(), "type": "searchset"}
    if page.total is not None:
        head["total"] = page.total
    head["link"] = [{"relation": link.relation, "url": link.url} for link in links]
    root = orjson.dumps(base)[1:-1]
    entries = [
        b'{"fullUrl":"%b/%b/%b","resource":%b,"search":{"mode":"match","score":1}}'
        % (root, entry.key.type.encode(), entry.key.id.encode(), entry.raw)
        for entry in page.entries
    ]
    entries += [
        b'{"fullUrl":"%b/%b/%b","resource":%b,"search":{"mode":"include"}}'
        % (root, entry.key.type.encode(), entry.key.id.encode(), entry.raw)
        for entry in page.included
    ]
    if issues:
        entries.append(_outcome_entry(issues))
    if not entries:
        return orjson.dumps(head)
    return b'%b,"entry":[%b]}' % (orjson.dumps(head)[:-1], b",".join(entries))


def _outcome_entry(issues: Sequence[Issue]) -> bytes:
    """What was left out of the search; counts in no total."""
    entry = {
        "fullUrl": f"urn:uuid:{unique_id()}",
        "resource": outcome(issues),
        "search": {"mode": "outcome"},
    }
    return orjson.dumps(entry)
