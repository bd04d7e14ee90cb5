"""Known names that are spelled nearly like a word: what an error says beside "there is no such …". Pure.

Only known names are shown, never the word itself: a value may stand where a name belongs.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLOSE: Final = 0.7
_BEGUN_MIN: Final = 3
_LENGTH_MAX: Final = 64
"""Length of words past which there is no slip of the pen, and comparing them takes time."""


def near(word: str, names: Iterable[str]) -> str:
    """` (did you mean `X`?)` with the nearest name, or one in another case; empty when none is near."""
    if not 0 < len(word) <= _LENGTH_MAX:
        return ""
    return _near(word, tuple(names))


@lru_cache(maxsize=256)
def _near(word: str, names: tuple[str, ...]) -> str:
    said = _folded(word)
    # A slip keeps the first letter: comparing with all names would take ten times as long.
    known: dict[str, str] = {}
    for name in names:
        if _folded(name)[:1] == said[:1]:
            known.setdefault(_folded(name), name)
    found = get_close_matches(said, known, n=1, cutoff=_CLOSE) or _begun(said, known)
    return f" (did you mean `{known[found[0]]}`?)" if found else ""


def _folded(name: str) -> str:
    return name.casefold().lstrip("_")


def _begun(word: str, names: Iterable[str]) -> list[str]:
    """The one name that begins with the word, `prod` for `Production`."""
    found = [name for name in names if len(word) >= _BEGUN_MIN and name.startswith(word)]
    return found if len(found) == 1 else []


def unknown_type(name: str, types: Iterable[str]) -> Issue:
    """The issue of a resource type that nobody knows, with the type that may be meant."""
    return Issue("not-found", f"there is no such resource type here{near(name, types)}")
