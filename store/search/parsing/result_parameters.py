"""Parameters that shape the result of a search: how many, in which order, with what beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from store.search.criteria import (
    Clause,
    SortKey,
    Summary,
    Total,
)
from store.search.parameters import TYPES
from store.search.parsing import includes, subsets
from store.search.parsing.context import Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.search.criteria import Include


_COUNT: Final = re.compile(r"[0-9]{1,18}")


@dataclass(slots=True)
class Draft:
    """A SearchQuery while its parameters are read."""

    clauses: list[Clause] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    count: int | None = None
    total: Total | None = None
    includes: list[Include] = field(default_factory=list)
    summary: Summary | None = None
    elements: list[str] = field(default_factory=list)


def _read_count(draft: Draft, _: str, text: str) -> None:
    if not _COUNT.fullmatch(text):
        message = "must be a whole number, 0 or more"
        raise Refused(message)
    # Of several none may be exceeded: R4 lets a page be smaller, never larger.
    draft.count = int(text) if draft.count is None else min(draft.count, int(text))


def _read_total(draft: Draft, _: str, text: str) -> None:
    totals = {"none": Total.NONE, "estimate": Total.BOUNDED, "accurate": Total.ACCURATE}
    if text not in totals:
        message = "must be `none`, `estimate` or `accurate`"
        raise Refused(message)
    if draft.total not in (None, totals[text]):
        message = "may be asked one way only"
        raise Refused(message)
    draft.total = totals[text]


def _read_sort(draft: Draft, resource_type: str, text: str) -> None:
    """Repeated, each adds its keys behind the others. Of two keys on one parameter the first decides."""
    rows = TYPES[resource_type].by_name
    known, keys = [], list(filter(None, text.split(",")))  # Names: there is nothing to escape.
    sort = {one.parameter.name: one for one in draft.sort}
    for key in keys:
        row = rows.get(key.removeprefix("-"))
        if row is not None and row.sortable:
            known.append(key)
            sort.setdefault(row.name, SortKey(row, descending=key.startswith("-")))
    draft.sort = tuple(sort.values())
    if known != keys:
        sortable = sorted(n for n, r in rows.items() if r.sortable)
        bad = next((key for key in keys if key not in known), "").removeprefix("-").partition(":")[0]
        names = ", ".join(f"`{n}`" for n in sortable)
        message = f"`_sort` takes {names}, with `-` before it to go down"
        raise Unknown(message, rest=",".join(known), word=bad, names=sortable)


def read_include(draft: Draft, name: str, text: str) -> None:
    """Read `_include` or `_revinclude` into the draft."""
    try:
        include = includes.parse(name, text)
    except LookupError as error:
        raise Unknown(str(error)) from None
    except includes.UnsupportedError as error:
        raise Refused(str(error), "not-supported") from None
    except ValueError as error:
        raise Refused(str(error)) from None
    if include in draft.includes:
        return
    if len(draft.includes) >= includes.INCLUDES_MAX:
        message = f"a search may have at most {includes.INCLUDES_MAX} of `_include` and `_revinclude`"
        raise Refused(message, "too-costly")
    draft.includes.append(include)


def _read_summary(draft: Draft, _: str, text: str) -> None:
    try:
        draft.summary = subsets.summary(text, draft.summary)
    except ValueError as error:
        raise Refused(str(error)) from None


def _read_elements(draft: Draft, resource_type: str, text: str) -> None:
    parts = list(filter(None, text.split(",")))
    try:
        named = dict(zip(parts, subsets.elements(",".join(parts), resource_type), strict=True))
    except ValueError as error:
        raise Refused(str(error)) from None
    there = frozenset(subsets.known(resource_type))
    kept = {part: name for part, name in named.items() if name in there}
    draft.elements = list(dict.fromkeys([*draft.elements, *kept.values()]))
    if len(kept) < len(named):
        bad = next(name for name in named.values() if name not in there)
        message = f"`_elements`: `{resource_type}` has no such element"
        raise Unknown(message, rest=",".join(kept), word=bad, names=there)


RESULT_PARAMETERS: Final[Mapping[str, Callable[[Draft, str, str], None]]] = {
    "_count": _read_count,
    "_total": _read_total,
    "_sort": _read_sort,
    "_summary": _read_summary,
    "_elements": _read_elements,
}
