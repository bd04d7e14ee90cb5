"""Values of a resource beside those of a query, by the R4 text: one kind of parameter after the other.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import html
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tests.oracle.search.rows import COMMON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.oracle.search.rows import Row

Json = dict[str, Any]


# --- the text of a query


def split(text: str, separator: str) -> list[str]:
    """Apart at each separator that no backslash stands before; escapes stay."""
    parts, position = [""], 0
    while position < len(text):
        length = 2 if text[position] == "\\" else 1
        piece = text[position : position + length]
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
        position += length
    return parts


def escaped(text: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", text)


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


# --- token: https://hl7.org/fhir/R4/search.html#token

Coded = tuple[str | None, str | None]


def r4_system(system: str | None) -> str | None:
    """Decision D12."""
    old = re.fullmatch(r"http://hl7\.org/fhir/v([23])/(\w+)", system or "")
    return f"http://terminology.hl7.org/CodeSystem/v{old[1]}-{old[2]}" if old else system


def pairs_of(value: Any, row: Row) -> list[Coded]:
    if isinstance(value, bool):
        return [(None, str(value).lower())]
    if row.kind == "contact":
        return [(None, value.get("value"))]
    if isinstance(value, str):
        return [(row.system or None, value)]
    if row.kind == "identifier":
        return [(value.get("system"), value.get("value"))]
    return [(r4_system(c.get("system")), c.get("code")) for c in value.get("coding", [value])]


def token_is(pair: Coded, value: str, *, folded: bool) -> bool:
    def same(one: str | None, other: str) -> bool:
        return one is not None and (one.casefold() == other.casefold() if folded else one == other)

    system, code = pair
    parts = [plain(part) for part in split(value, "|")]
    if len(parts) == 1:
        return same(code, parts[0])
    if not parts[0]:
        return system is None and same(code, parts[1])
    return system == r4_system(parts[0]) and (not parts[1] or same(code, parts[1]))


def match_token(found: list[Any], values: list[str], modifier: str, row: Row) -> bool:
    if modifier == "text":
        texts = [text for one in found for text in displayed(one)]
        return any(starts(text, plain(value)) for text in texts for value in values)
    if modifier == "of-type":
        return any(of_type(one, value) for one in found for value in values)
    folded = row.kind not in ("identifier", "id")
    any_is = any(
        token_is(pair, value, folded=folded) for e in found for pair in pairs_of(e, row) for value in values
    )
    return any_is != (modifier == "not")


def displayed(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        kind = value.get("type", {})
        said = [value.get("text"), value.get("display"), kind.get("text")]
        said += [c.get("display") for c in (*value.get("coding", []), *kind.get("coding", []))]
        yield from filter(None, said)


def of_type(value: Json, text: str) -> bool:
    system, code, wanted = (plain(part) for part in split(text, "|"))
    codings = value.get("type", {}).get("coding", [])
    asked = f"{system}|{escaped(code)}"
    typed = any(token_is((r4_system(c.get("system")), c.get("code")), asked, folded=True) for c in codings)
    return typed and value.get("value") == wanted


# --- string: https://hl7.org/fhir/R4/search.html#string


def fold(text: str) -> str:
    letters = (c for c in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(c))
    return re.sub(r"[\W_]+", " ", re.sub(r"['’`.]", "", "".join(letters))).strip()


def starts(text: str, value: str) -> bool:
    """From the start of any word."""
    return f" {fold(text)}".find(f" {fold(value)}") >= 0


def parts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    for name in (*"text family given prefix suffix line city district state postalCode country".split(),):
        part = value.get(name, [])
        yield from [part] if isinstance(part, str) else part


def match_string(found: list[Any], values: list[str], modifier: str, _: Row) -> bool:
    def same(text: str, value: str) -> bool:
        if modifier == "exact":
            return text == value
        return fold(value) in fold(text) if modifier == "contains" else starts(text, value)

    return any(same(text, plain(value)) for one in found for text in parts_of(one) for value in values)


# --- text: https://hl7.org/fhir/R4/search.html#content

SILENT: Final = (
    *("resourceType", "id", "meta", "data", "system", "reference", "url", "contentType", "language", "hash"),
)
"""Hold no words for people."""


def texts_of(value: Any) -> str:
    """All that a resource says to people."""
    if isinstance(value, str):
        return "" if re.match(r"\d{4}-\d\d", value) else value
    if isinstance(value, list):
        return " ".join(map(texts_of, value))
    if isinstance(value, dict):
        return " ".join(texts_of(inner) for name, inner in value.items() if name not in SILENT)
    return ""


def match_words(found: list[Any], values: list[str], _: str, __: Row) -> bool:
    """All words of a value occur, each from the start of a word; tags are no words."""
    said = [f" {fold(html.unescape(re.sub('<[^>]*>', ' ', one)))}" for one in found]
    return any(
        all(f" {word}" in text for word in fold(plain(value)).split()) for text in said for value in values
    )


def match_uri(found: list[Any], values: list[str], _: str, row: Row) -> bool:
    spelled = [*found, *(one.split("|")[0] for one in found if row == COMMON["_profile"])]
    return any(one == plain(value) for one in spelled for value in values)


# --- date: https://hl7.org/fhir/R4/search.html#date

Span = tuple[int, int]
FOREVER: Final = 10**20
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)


def span(text: str) -> Span:
    """From the first to behind the last microsecond that a date of this precision can mean."""
    found = DATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    first = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), tzinfo=UTC)
    first += timedelta(seconds=int(second or 0), microseconds=int((fraction or "0").ljust(6, "0")[:6]))
    if month is None:
        last = first.replace(year=first.year + 1)
    elif day is None:
        last = (first + timedelta(days=31)).replace(day=1)
    elif hour is None:
        last = first + timedelta(days=1)
    elif second is None:
        last = first + timedelta(minutes=1)
    elif fraction is None:
        last = first + timedelta(seconds=1)
    else:
        last = first + (timedelta(milliseconds=1) if len(fraction) <= 3 else timedelta(microseconds=1))
    if zone and zone != "Z":
        east = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
        first, last = (one - east if zone[0] == "+" else one + east for one in (first, last))
    return tuple((one - EPOCH) // timedelta(microseconds=1) for one in (first, last))  # type: ignore[return-value]


def span_of(value: Any) -> Span:
    if isinstance(value, str):
        return span(value)
    if "event" in value or "repeat" in value:  # Of a Timing the outer limits count.
        bounds = value.get("repeat", {}).get("boundsPeriod")
        spans = [span_of(one) for one in (*value.get("event", []), *([bounds] if bounds else []))]
        return min(first for first, _ in spans), max(last for _, last in spans)
    start, end = value.get("start"), value.get("end")
    return (span(start)[0] if start else -FOREVER, span(end)[1] if end else FOREVER)


PREFIXED: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)")


def date_is(target: Span, text: str, now: int) -> bool:
    found = PREFIXED.fullmatch(plain(text))
    assert found is not None
    (s0, s1), (t0, t1) = span(found[2]), target
    inside = s0 <= t0 and t1 <= s1
    slack = abs(now - s0) // 10  # R4's suggestion: a tenth of the way from now.
    return {
        "eq": inside,
        "ne": not inside,
        "gt": t1 > s1,
        "lt": t0 < s0,
        "ge": t1 > s1 or inside,
        "le": t0 < s0 or inside,
        "sa": t0 >= s1,
        "eb": t1 <= s0,
        "ap": t0 < s1 + slack and s0 - slack < t1,
    }[found[1] or "eq"]


# --- quantity: https://hl7.org/fhir/R4/search.html#quantity


def quantity_is(quantity: Json, text: str) -> bool:
    first, *unit = [plain(part) for part in split(text, "|")]
    found = PREFIXED.fullmatch(first)
    if found is None or "value" not in quantity:
        return False
    if unit:
        system, code = unit
        units = (quantity.get("code"),) if system else (quantity.get("code"), quantity.get("unit"))
        if code not in units or (system and system != quantity.get("system")):
            return False
    value, asked = Decimal(str(quantity["value"])), Decimal(found[2])
    half = Decimal((0, (5,), int(asked.as_tuple().exponent) - 1))
    equal = asked - half <= value < asked + half
    return {
        "eq": equal,
        "ne": not equal,
        "gt": value > asked,
        "lt": value < asked,
        "ge": value >= asked,
        "le": value <= asked,
        "sa": value > asked,
        "eb": value < asked,
        "ap": abs(value - asked) <= max(half, abs(asked) / 10),
    }[found[1] or "eq"]


def match_quantity(found: list[Any], values: list[str], _: str, __: Row) -> bool:
    return any(quantity_is(one, value) for one in found for value in values)


MATCH: Final[dict[str, Callable[[list[Any], list[str], str, Row], bool]]] = {
    "code": match_token,
    "token": match_token,
    "identifier": match_token,
    "id": match_token,
    "boolean": match_token,
    "string": match_string,
    "uri": match_uri,
    "contact": match_token,
    "presence": match_token,
    "words": match_words,
    "quantity": match_quantity,
}
