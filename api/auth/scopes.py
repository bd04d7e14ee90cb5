"""SMART system scopes: `system/DiagnosticReport.rs`, `system/*.cruds`, and the older `.read`, `.write`, `.*`.

Pure. https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from store.fhir.resource_types import RESOURCE_TYPES
from store.near import near

LETTERS: Final = "cruds"
"""create, read (vread, history), update (patch), delete, search: a suffix keeps this order."""
OLDER: Final[Mapping[str, str]] = {"read": "rs", "write": "cud", "*": LETTERS}
"""SMART v1 permissions in the letters of v2."""
EVERY_TYPE: Final = "*"
ADMIN: Final = "dod/admin"
"""Our own: may ask for the plan of a search (`__explain=true`), and deal with dead letters."""
SYSTEM_SCOPE: Final = re.compile(r"system/(\*|[A-Z][A-Za-z]+)\.(\*|[a-z]+)")
_TYPE: Final = re.compile(r"system/([A-Za-z]+)\.")
SUFFIX: Final = re.compile("".join(f"{letter}?" for letter in LETTERS))


class Scope(NamedTuple):
    """A resource type (or `*`) and what may be done with it."""

    type: str
    letters: str


def parse_scope(text: str) -> Scope:
    """One scope. Raises ValueError with the rule that is broken."""
    if "?" in text:
        raise ValueError("scopes with a query (`?…`) are refused, for they would not be enforced")
    found = SYSTEM_SCOPE.fullmatch(text)
    if found is None:
        raise ValueError("a scope is `system/<Type or *>.<letters>`, such as `system/DiagnosticReport.rs`")
    letters = OLDER.get(found[2], found[2])
    if not SUFFIX.fullmatch(letters):
        raise ValueError(
            "the letters of a scope are some of `cruds`, in this order (create, read, update, delete,"
            " search), or `read`, `write` or `*`"
        )
    return Scope(found[1], letters)


def refuse_unknown_type(text: str) -> None:
    """Raise ValueError for a scope on a type that R4 does not have: a new token would allow nothing by it."""
    found = _TYPE.match(text)
    if found is not None and found[1] not in RESOURCE_TYPES:
        hint = near(found[1], RESOURCE_TYPES)
        raise ValueError(f"the type of a scope is a resource type of R4, or `*`{hint}")


def merge_scopes(texts: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """What several scopes allow together: resource type (or `*`) → letters."""
    merged: dict[str, frozenset[str]] = {}
    for text in texts:
        if text != ADMIN:
            scope = parse_scope(text)
            merged[scope.type] = merged.get(scope.type, frozenset()) | frozenset(scope.letters)
    return merged
