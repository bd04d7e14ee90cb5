"""Text of a query string, form or condition → pairs, percent-decoded; nothing is understood yet. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote_plus

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

Pair: TypeAlias = tuple[str, str]
"""Name and value of a parameter."""

TEXT_MAX: Final = 60_000
"""Characters of one search or condition, encoded. A page link holds the search, and a URL ends somewhere."""
PAIRS_MAX: Final = 500
"""Parameters; far above `clauses_max`: bounds the work before anything is understood."""


def pairs_of(text: str, *, of: str = "a search", where: tuple[str, ...] = ()) -> list[Pair]:
    """Pairs of an `application/x-www-form-urlencoded` text. Raises ServiceError `incorrect` or `too-large`.

    `of` and `where` name the text in refusals: a search, or the condition in a header or element.
    """
    if not text:
        return []
    if len(text) > TEXT_MAX:
        issue = Issue("too-long", f"{of} may have at most {TEXT_MAX} characters", where)
        raise ServiceError(Category.TOO_LARGE, issue)
    try:
        text.encode()  # Bytes of a header that are no UTF-8 arrive as lone surrogates.
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PAIRS_MAX)
    except UnicodeError:
        issue = Issue("invalid", "the parameters are not UTF-8 when percent-decoded", where)
        raise ServiceError(Category.INCORRECT, issue) from None
    except ValueError:
        issue = Issue("too-costly", f"{of} may have at most {PAIRS_MAX} parameters", where)
        raise ServiceError(Category.INCORRECT, issue) from None


def pairs_of_form(body: bytes | bytearray) -> list[Pair]:
    """Pairs of a posted form. Raises ServiceError `incorrect` or `too-large`."""
    try:
        return pairs_of(body.decode().rstrip("\r\n"))  # A file that is posted ends with a line's end.
    except UnicodeDecodeError:
        raise ServiceError(Category.INCORRECT, Issue("invalid", "the form is not UTF-8")) from None


def value_of(text: str, name: str) -> str | None:
    """The last value of one parameter whose name is written plainly; None: it has none, or an empty one.

    The others are not decoded: a query may have a hundred thousand of them, and whoever may send it is not
    known yet.
    """
    if name not in text:
        return None
    parts = (part.partition("=") for part in text.split("&") if part.startswith(name))
    values = [value for key, _, value in parts if key == name and value]
    return unquote_plus(values[-1]) if values else None
