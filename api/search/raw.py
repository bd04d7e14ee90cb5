"""Query string or form → pairs, percent-decoded; nothing is understood yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from store.search.parsing.parse import Pair

TEXT_MAX: Final = 60_000
"""Characters of one search, encoded. A page link holds the search, and a URL ends somewhere."""
PAIRS_MAX: Final = 500
"""Far above `clauses_max`: bounds the work before anything is understood."""


def pairs_of(text: str) -> list[Pair]:
    """The pairs of an `application/x-www-form-urlencoded` text. Raises ServiceError `incorrect`."""
    if not text:
        return []
    if len(text) > TEXT_MAX:
        issue = Issue("too-long", f"a search may have at most {TEXT_MAX} characters")
        raise ServiceError(Category.TOO_LARGE, issue)
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PAIRS_MAX)
    except UnicodeDecodeError:
        raise _refusal("the parameters are not UTF-8 when percent-decoded") from None
    except ValueError:
        raise _refusal(f"a search may have at most {PAIRS_MAX} parameters") from None


def pairs_of_form(body: bytes | bytearray) -> list[Pair]:
    """The pairs of a posted form. Raises ServiceError `incorrect`."""
    try:
        return pairs_of(body.decode())
    except UnicodeDecodeError:
        raise _refusal("the form is not UTF-8") from None


def _refusal(text: str) -> ServiceError:
    return ServiceError(Category.INCORRECT, Issue("invalid", text))
