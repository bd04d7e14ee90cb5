"""SMART system scopes, of both versions, and the service's own. Pure.

`system/DiagnosticReport.rs`, `system/*.cruds`, the older `.read`, `.write`, `.*`; with a query, as in
`system/Observation.rs?category=laboratory`, only resources that fulfil it; `dod/push` and others.
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from store.fhir.resource_types import RESOURCE_TYPES
from store.near import near
from store.search.reach import constraint

if TYPE_CHECKING:
    from store.search.criteria import Clause

LETTERS: Final = "cruds"
"""create, read (vread, history), update (patch), delete, search: a suffix keeps this order."""
OLDER: Final[Mapping[str, str]] = {"read": "rs", "write": "cud", "*": LETTERS}
"""SMART v1 permissions in the letters of v2."""
EVERY_TYPE: Final = "*"
PUSH: Final = "dod/push"
ADMIN: Final = "dod/admin"
PURGE: Final = "dod/purge"
AUDIT: Final = "dod/audit"
OWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        PUSH: "create and update resources of every type, by message, Bundle or one by one; nothing else",
        ADMIN: "see and deal with dead letters; see retention, tenants and clients, and the plan of a search"
        " (`__explain=true`)",
        PURGE: "erase a patient (`$purge`)",
        AUDIT: "read the record of who looked at whom",
    }
)
"""Scopes of this service, each with what it allows."""
_PUSHES: Final = "system/*.cu"
"""Scope that `dod/push` amounts to."""
NARROW_LETTERS: Final = frozenset("rs")
"""Letters that a scope with a query may grant: what is written is not tested by a query."""
TEXT_MAX: Final = 4_000
"""Characters of all scopes of a client: they travel in each of its access tokens."""
SYSTEM_SCOPE: Final = re.compile(r"system/(\*|[A-Z][A-Za-z]+)\.(\*|[a-z]+)(?:\?([\x21-\x7e]+))?")
_TYPE: Final = re.compile(r"system/([A-Za-z]+)\.")
SUFFIX: Final = re.compile("".join(f"{letter}?" for letter in LETTERS))


class Scope(NamedTuple):
    """A resource type (or `*`), what may be done with it, and the query that narrows it."""

    type: str
    letters: str
    query: str = ""

    @property
    def clause(self) -> Clause:
        """Clause that a resource must fulfil."""
        return _clause(self.type, self.query)

    def text(self) -> str:
        """The scope as it is written."""
        return f"system/{self.type}.{self.letters}" + (f"?{self.query}" if self.query else "")


class Part(NamedTuple):
    """A part of a resource type, and what may be done with it."""

    type: str
    letters: str
    query: str
    clause: Clause


class Rights(NamedTuple):
    """Rights that several scopes give together."""

    whole: Mapping[str, frozenset[str]]
    """Resource type (or `*`) → letters that are granted for all of it."""
    parts: tuple[Part, ...]
    own: frozenset[str]
    """The service's own scopes."""


@lru_cache(maxsize=1_000)
def parse_scope(text: str) -> Scope:
    """Scope of a text. Raises ValueError with the rule that is broken."""
    found = SYSTEM_SCOPE.fullmatch(text)
    if found is None:
        own = ", ".join(f"`{name}`" for name in OWN)
        raise ValueError(
            "a scope is `system/<Type or *>.<letters>`, such as `system/DiagnosticReport.rs`, or one of"
            f" {own}"
        )
    letters = OLDER.get(found[2], found[2])
    if not SUFFIX.fullmatch(letters):
        raise ValueError(
            "the letters of a scope are some of `cruds`, in this order (create, read, update, delete,"
            " search), or `read`, `write` or `*`"
        )
    scope = Scope(found[1], letters, found[3] or "")
    if scope.query:
        if not frozenset(letters) <= NARROW_LETTERS:
            raise ValueError(
                "a scope with a query grants `r`, `s` or `rs`: what is written is not tested by a query"
            )
        _clause(scope.type, scope.query)
    return scope


@lru_cache(maxsize=1_000)
def _clause(resource_type: str, query: str) -> Clause:
    """The query of a scope as a clause. Raises ValueError."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise ValueError("the query of a scope has at most 20 parameters, percent-encoded as UTF-8") from None
    return constraint(resource_type, pairs)


def checked(texts: Iterable[str]) -> tuple[str, ...]:
    """Scopes that are to be issued, each once. Raises ValueError for one that is malformed or misspelt."""
    found = tuple(dict.fromkeys(texts))
    for text in found:
        if text not in OWN:
            refuse_unknown_type(text)
            parse_scope(text)
    if sum(map(len, found)) + len(found) > TEXT_MAX:
        raise ValueError(f"scopes have at most {TEXT_MAX} characters together")
    return found


def refuse_unknown_type(text: str) -> None:
    """Raise ValueError for a scope on a type that R4 does not have: a new token would allow nothing by it."""
    found = _TYPE.match(text)
    if found is not None and found[1] not in RESOURCE_TYPES:
        hint = near(found[1], RESOURCE_TYPES)
        raise ValueError(f"the type of a scope is a resource type of R4, or `*`{hint}")


def rights_of(texts: Iterable[str]) -> Rights:
    """Rights that several scopes give together; one that is no longer taken for a scope gives none."""
    whole: dict[str, frozenset[str]] = {}
    parts: list[Part] = []
    own = set[str]()
    for text in texts:
        if text in OWN:
            own.add(text)
        if text in OWN and text != PUSH:
            continue
        try:
            scope = parse_scope(_PUSHES if text == PUSH else text)
        except ValueError:  # Issued before there was a rule against it.
            continue
        if scope.query:
            parts.append(Part(scope.type, scope.letters, scope.query, scope.clause))
        else:
            whole[scope.type] = whole.get(scope.type, frozenset()) | frozenset(scope.letters)
    return Rights(whole, tuple(parts), frozenset(own))


def merge_scopes(texts: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Letters that several scopes give for whole types: resource type (or `*`) → letters."""
    return rights_of(texts).whole


def granted(asked: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """The part of the scopes asked for that is allowed. Raises ValueError for one that is malformed."""
    found: dict[str, None] = {}
    for one in checked(asked):
        if one in OWN:
            if one in allowed:
                found[one] = None
            continue
        wanted = parse_scope(one)
        for other in allowed:
            if other not in OWN or other == PUSH:
                both = _both(wanted, parse_scope(_PUSHES if other == PUSH else other))
                if both is not None:
                    found[both.text()] = None
    return tuple(found)


def _both(left: Scope, right: Scope) -> Scope | None:
    """Scope that two scopes allow, each by itself."""
    if EVERY_TYPE not in (left.type, right.type) and left.type != right.type:
        return None
    letters = "".join(letter for letter in LETTERS if letter in left.letters and letter in right.letters)
    if not letters:
        return None
    queries = dict.fromkeys(filter(None, (left.query, right.query)))
    return Scope(right.type if left.type == EVERY_TYPE else left.type, letters, "&".join(queries))
