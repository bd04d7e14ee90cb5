"""A page of matches as the port gives it: cut to its bounds, with the places of the pages beside it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.mongo.search.snapshot import Batch
from store.resources.pages import Entry, Page
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.search.criteria import Moment, SearchQuery
    from store.search.planning.plan import FindPlan


def fitting(query: SearchQuery, found: Batch) -> Batch:
    """The matches that a page may hold, by count and bytes; one at least."""
    left = query.bytes_max
    for number, document in enumerate(found.documents[: query.count]):
        left -= len(document["raw"])
        if left < 0 and number:
            return Batch(found.documents[:number], more=True)
    more = found.more or len(found.documents) > query.count
    return Batch(found.documents[: query.count], more)


def page_of(query: SearchQuery, find: FindPlan, matches: Batch, as_of: Moment | None) -> Page:
    """Page of these matches; its total when they are all of them."""
    backwards = query.position is not None and query.position.backwards
    shown, more = matches
    if backwards:
        shown = shown[::-1]
    entries = tuple([Entry(ResourceKey(query.type, d["id"]), d["raw"]) for d in shown])
    first_and_all = query.position is None and not more and query.count > 0
    return Page(
        entries,
        total=len(entries) if first_and_all else None,
        next=_position(find, shown[-1]) if shown and (more or backwards) else None,
        previous=_position(find, shown[0], backwards=True)
        if shown and (more if backwards else query.position is not None)
        else None,
        as_of=as_of,
    )


def _position(find: FindPlan, document: Mapping[str, Any], *, backwards: bool = False) -> Position:
    return Position(tuple(_at(document, name) for name, _ in find.sort), backwards)


def _at(document: Mapping[str, Any], name: str) -> int | str:
    value: Any = document
    for part in name.split("."):
        value = value[part]
    return value  # type: ignore[no-any-return]  # a sort scalar is a number or a string
