"""Searches and the audit: whom a search is about is told by its parameters, else by what it finds. Pure.

A search that names its patients, and can find nothing of others, is put on record before it is done, so that
the record is written meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from store.audit.patients import answered_with, asked_for, tells_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.search.answer import Search
    from ingest.access import Access
    from store.resources.pages import Page


def begin(access: Access, search: Search) -> bool:
    """Note what a search asks for; whether its record was handed in. Raises ServiceError."""
    access.about(asked_for(search.query))
    if search.state.position is not None:  # A page link is sealed: it says nothing by itself.
        access.asks(urlencode(search.state.pairs).encode())
    # A Patient is known by its id too, and who comes along is known by what comes.
    if not tells_all(search.query) or search.query.type == "Patient":
        return False
    access.begin()
    return True


def end(access: Access, search: Search, page: Page, *, within: str | None) -> None:
    """Note what a search has found; `within`: its query, where it is an entry of a batch."""
    found = found_in(page)
    if within is None:
        access.about(found)
    else:
        named = (*asked_for(search.query), *found)
        access.entry("search", search.query.type, query=within.encode(), patients=named)


def found_in(page: Page) -> Iterator[str]:
    """The patients that a page is about."""
    for entries in (page.entries, page.included):
        for key, raw in entries:
            yield from answered_with(key.type, key.id, raw)
