"""A search from its pairs to its Bundle, whoever asks: the HTTP handlers, or `dod search` at the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from api.search.bundle import render
from api.search.explanation import issue_of
from api.search.links import links
from api.search.page_token import PageState, bound
from api.search.subset import trim
from store.fhir.instants import SECOND
from store.fhir.issues import Issue
from store.search.criteria import Total
from store.search.parsing.parse import parse
from store.search.reach import narrowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.resources.pages import Page
    from store.resources.resources import ResourceStore
    from store.search.criteria import SearchQuery
    from store.search.parsing.context import SearchContext
    from store.search.parsing.query_text import Pair
    from store.search.reach import Reach
    from store.tenancy import Tenant

_INCOMPLETE: Final = Issue(
    "incomplete",
    "the match on this page brings along more than a page may hold: some of it is left out; search for it by"
    " itself, by a reference to the match or with a narrower `_include` or `_revinclude`",
    ("_include", "_revinclude"),
    severity="warning",
)
_UNFOUND: Final = Issue(
    "incomplete",
    "the way back of a `_revinclude` leads by the patient, and a resource on this page names none, or many"
    " patients share it, as a group, from which no `_include` leads to them either: search for them, or for"
    " what refers to it by that reference, with the patient where that is asked",
    ("_include", "_revinclude"),
    severity="warning",
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asker of searches: what every search needs beside its text."""

    store: ResourceStore
    tenant: Tenant
    base: str
    """The tenant's base URL."""
    secret: bytes
    """Secret of page links."""
    reach: Reach
    """Resources that may be seen."""
    explains: bool = False
    client: str = ""
    """Client whose share of the threads of searches it takes."""


class Search(NamedTuple):
    """Search for a page, understood."""

    state: PageState
    """State that its links hold."""
    query: SearchQuery
    ignored: Sequence[Issue] = ()


class Answer(NamedTuple):
    """Answer to a search."""

    search: Search
    page: Page
    issues: Sequence[Issue] = ()
    """Issues of the searchset's OperationOutcome."""


def begin(resource_type: str, pairs: Sequence[Pair], context: SearchContext, *, link_seconds: int) -> Search:
    """The first page of a search. Raises ServiceError with every issue."""
    understood = parse(resource_type, pairs, context)
    until = context.now // SECOND + link_seconds
    state = PageState(resource_type, understood.pairs, context.now, until)
    return Search(state, understood.query, understood.ignored)


def resume(state: PageState, context: SearchContext) -> Search:
    """The page that a link stands for."""
    query = parse(state.type, state.pairs, context).query
    query = replace(query, as_of=state.as_of)
    if state.position is not None:
        query = replace(query, position=state.position, total=Total.NONE)
    return Search(state, query)


async def ask(asker: Asker, search: Search) -> Answer:
    """Have the store answer; nothing is rendered yet."""
    state, query, issues = search
    within = narrowed(query, asker.reach)
    page = await asker.store.search(asker.tenant, within, client=asker.client)
    if state.position is None:
        if page.next is not None:
            state = replace(state, total=page.total, as_of=page.as_of)
    elif page.as_of == state.as_of:
        page = replace(page, total=state.total)
    else:  # What was counted is no longer what the pages show.
        state = replace(state, total=None, as_of=page.as_of)
    if page.incomplete:
        issues = (*issues, _INCOMPLETE)
    if page.unfound:
        issues = (*issues, _UNFOUND)
    if asker.explains:
        issues = (*issues, issue_of(await asker.store.explain(asker.tenant, within, client=asker.client)))
    return Answer(Search(state, query), page, issues)


def following(answer: Answer) -> Search | None:
    """The next page, as its link would lead to it; None after the last one."""
    (state, query, _), position = answer.search, answer.page.next
    if position is None:
        return None
    query = replace(query, position=position, total=Total.NONE, as_of=state.as_of)
    return Search(replace(state, position=position), query)


def bundle(asker: Asker, answer: Answer) -> bytes:
    """The searchset as JSON bytes."""
    (state, query, _), page = answer.search, answer.page
    to = links(state, page, base=asker.base, tenant=bound(asker.tenant, asker.reach), secret=asker.secret)
    return render(trim(page, query), base=asker.base, links=to, issues=answer.issues)
