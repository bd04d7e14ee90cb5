"""The links of a searchset: `self` says what was understood, the others lead through the pages.

https://hl7.org/fhir/R4/bundle.html#searchset
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_plus

from api.search.page_token import PageState, seal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.resources.pages import Page


class Link(NamedTuple):
    """Link of a Bundle."""

    relation: str
    url: str


def links(state: PageState, page: Page, *, base: str, tenant: str, secret: bytes) -> Iterator[Link]:
    """The links of one page. `self` of a first page is the search as a GET, later ones are sealed."""
    root = f"{base}/{state.type}"

    def to(target: PageState) -> str:
        return f"{root}?_page={seal(target, tenant=tenant, secret=secret)}"

    query = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in state.pairs])
    yield Link("self", (f"{root}?{query}" if query else root) if state.position is None else to(state))
    if page.next is not None or page.previous is not None or state.position is not None:
        yield Link("first", to(replace(state, position=None)))
    if page.previous is not None:
        yield Link("previous", to(replace(state, position=page.previous)))
    if page.next is not None:
        yield Link("next", to(replace(state, position=page.next)))


_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~:/|,$-]*")


def _quoted(text: str) -> str:
    """A name or a value as it stands in a URL; most of them as they are."""
    return text if _PLAIN.fullmatch(text) else quote_plus(text, safe=":/|,$")
