"""The search criteria of conditional writes: one resource, none, or a refusal. https://hl7.org/fhir/R4/http.html#ccreate

A criterion that is not understood, or has no value, refuses the request: left out, it would widen the
condition, and the write would hit another resource.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.ids import stable_id
from ingest.pipeline.bundle_entries import relative
from ingest.pipeline.decode import glance
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime, parse, to_datetime
from store.fhir.issues import Issue
from store.near import unknown_type
from store.resources.versions import Stored
from store.search.criteria import Tokens, Total
from store.search.looks import refusals
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext
from store.search.parsing.parse import is_known
from store.search.parsing.parse import parse as parse_search
from store.search.parsing.query_text import pairs_of
from store.search.planning.canonical import canonical

if TYPE_CHECKING:
    from ingest.writes.push_context import PushContext
    from store.resources.pages import Entry
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Prepared
    from store.search.criteria import SearchQuery
    from store.search.parsing.query_text import Pair

QUERY: Final = "request.url"
"""Place of the condition of an update, deletion or patch, and at times of a create."""
_NO_CONDITION: Final = (
    "the condition names no search parameter; one resource is `{Type}/{id}`, a condition"
    " `{Type}?identifier=…`"
)
_SHAPING: Final = frozenset(
    {"_count", "_elements", "_format", "_include", "_pretty", "_revinclude", "_sort", "_summary", "_total"}
)
"""Say nothing about what matches; R4 has conditions made of filters only, so they are passed over."""


_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|/")
"""Beginning of a condition that names its server, or the path of our base."""


class Criteria(NamedTuple):
    """A condition as it was understood."""

    type: str
    query: SearchQuery
    name: str
    """Name that is equal for every spelling of the condition."""
    where: str
    """The header or element that holds it, for refusals."""


def read(ctx: PushContext, resource_type: str, text: str, *, where: str) -> Criteria:
    """Criteria of a condition such as `identifier=system|value`. Raises ServiceError with every issue.

    On identifiers it asks no scope; on anything else that of a search (`store.search.looks`).
    """
    if resource_type not in TYPES:
        raise ServiceError(Category.NOT_FOUND, unknown_type(resource_type, TYPES))
    pairs = filters_of(_after_type(text.strip(), resource_type, ctx.base, where), where)
    empty = [name for name, value in pairs if not value.strip(",")]
    if empty or not pairs:
        text = "a criterion has no value" if empty else _NO_CONDITION
        raise ServiceError(Category.INCORRECT, Issue("required", text, (where,)))
    context = SearchContext(ctx.limits, ctx.base, from_datetime(ctx.clock()).start, strict=True)
    query = parse_search(resource_type, pairs, context).query
    if not query.clauses:
        text = _NO_CONDITION
        raise ServiceError(Category.INCORRECT, Issue("required", text, (where,)))
    unseen = refusals(query, ctx.caller.may)
    if unseen:  # Whether such a resource is there would tell what the caller may not search for.
        raise ServiceError(Category.FORBIDDEN, *unseen)
    one = replace(query, count=1, total=Total.NONE)
    # What `ap` means depends on the moment, and twins read it at two moments.
    timeless = parse_search(resource_type, pairs, context._replace(now=0)).query
    return Criteria(resource_type, one, _name(resource_type, timeless), where)


def _after_type(text: str, resource_type: str, base: str, where: str) -> str:
    """The part after `?`. R4's own example spells `Patient?identifier=…`, others the whole URL."""
    below = relative(text, base) if _URL.match(text) else text
    if below is None:
        issue = Issue("value", "the condition is another server's URL: name a search of this one", (where,))
        raise ServiceError(Category.INCORRECT, issue)
    return below.removeprefix(f"{resource_type}?").removeprefix("?")


def filters_of(text: str, where: str) -> list[Pair]:
    """The parameters that say what matches; those that shape an answer are left out."""
    return [
        pair
        for pair in pairs_of(text, of="a condition", where=(where,))
        if pair[0].partition(":")[0] not in _SHAPING
    ]


def of_create(resource_type: str, header: str | None, query: str) -> str | None:
    """The condition of a create: `If-None-Exist`, or the query of its URL, as some clients write it.

    What begins with `_` and is no parameter is a hint of a client's own, as `_filename`, and no condition.
    Raises ServiceError `incorrect` when both are there.
    """
    pairs = filters_of(query, QUERY) if query else []
    if not any(not name.startswith("_") or is_known(resource_type, name) for name, _ in pairs):
        return header
    if header is not None:
        text = "a create has one condition: `If-None-Exist`, or the query of its URL"
        raise ServiceError(Category.INCORRECT, Issue("invalid", text, ("If-None-Exist", QUERY)))
    return query


def _name(resource_type: str, query: SearchQuery) -> str:
    """Name that twins have in common. One identifier is named as messages name it, so that these meet too."""
    asked = canonical(query.clauses)
    match asked:
        case (("token", "index.identifier", False, (str(spelling),)),) if "|" in spelling:
            return f"{resource_type} {spelling}"
    return f"if {resource_type} {asked!a}"


def derived_id(ctx: PushContext, criteria: Criteria, turn: int) -> str:
    """The id at which simultaneous creates under one condition meet.

    A later turn gives another one: what was made first for this condition may no longer fulfil it.
    """
    name = criteria.name if turn == 0 else f"{criteria.name} ({turn})"
    return stable_id(ctx.tenant, name, ctx.secret)


def surely_misses(criteria: Criteria, prepared: Prepared) -> bool:
    """Whether the resource itself lacks the identifier that is asked for: then no twin can be found by it."""
    carried = prepared.indexed.fields.get("identifier")
    held = carried if isinstance(carried, (list, tuple)) else ()
    return any(
        isinstance(clause, Tokens)
        and clause.parameter.name == "identifier"
        and not clause.negated
        and not any(spelling in held for spelling in clause.spellings)
        for clause in criteria.query.clauses
    )


async def one_match(ctx: PushContext, criteria: Criteria) -> Stored | None:
    """The one resource for which a condition holds, in the version that was found; None: it holds for none.

    Raises ServiceError `precondition` when several do.
    """
    page = await ctx.store.search(ctx.tenant, criteria.query, client=ctx.caller.client)
    if page.next is not None:
        text = "the condition holds for more than one resource"
        raise ServiceError(Category.PRECONDITION, Issue("multiple-matches", text, (criteria.where,)))
    return _stored(page.entries[0]) if page.entries else None


async def matches(ctx: PushContext, criteria: Criteria, *, enough: int) -> tuple[ResourceKey, ...]:
    """The resources for which a condition holds; `enough` of them, when there are as many.

    A page ends early where resources are large: then the next one is asked for.
    """
    query, found = replace(criteria.query, count=enough), []
    while True:
        page = await ctx.store.search(ctx.tenant, query, client=ctx.caller.client)
        found += [entry.key for entry in page.entries]
        if page.next is None or len(found) >= enough:
            return tuple(found[:enough])
        query = replace(query, position=page.next)


def _stored(entry: Entry) -> Stored:
    """A match with the version that its bytes say."""
    meta = glance(entry.raw)["meta"]
    updated = to_datetime(parse(meta["lastUpdated"]).start)
    return Stored(entry.key, int(meta["versionId"]), updated, entry.raw)
