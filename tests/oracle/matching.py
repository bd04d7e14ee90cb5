"""A FHIR search by brute force over plain JSON: the definition in words, one resource after the other.

Written from the R4 text and the project's decisions, and importing nothing of the store: where the two
differ, one of them is wrong. Where both texts are silent it follows the store's docstrings. Slow and naive
on purpose. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.oracle.rows import ALIASES, CLINICAL_DATE, COMMON, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Json = dict[str, Any]
Pair = tuple[str, str]


RESULT: Final = ("_sort", "_include", "_include:iterate", "_revinclude", "_revinclude:iterate")
"""Parameters that filter nothing."""


@dataclass
class World:
    """Resources stored now."""

    base: str
    now: int
    """Microseconds since 1970, for the prefix `ap`."""
    resources: dict[tuple[str, str], Json] = field(default_factory=dict)

    def of(self, type: str) -> list[Json]:
        return [one for (kind, _), one in self.resources.items() if kind == type]

    def matches(self, type: str, pairs: Iterable[Pair]) -> list[Json]:
        """Resources for which every parameter holds."""
        asked = [(name, text) for name, text in pairs if name not in RESULT and text.strip(",")]
        return [one for one in self.of(type) if all(holds(self, one, n, t, one) for n, t in asked)]

    def search(self, type: str, pairs: Sequence[Pair]) -> list[list[str]]:
        """The ids of the matches in order: the one order, or each that the decisions leave open."""
        found = self.matches(type, pairs)
        sort = next((text for name, text in pairs if name == "_sort"), None)
        if sort is not None:
            return [[one["id"] for one in ordered(self, found, sort.split(","))]]
        newest = [f"-{CLINICAL_DATE[type]}"] if type in CLINICAL_DATE else ["-_id"]
        orders = [newest]
        filters = [name for name, text in pairs if name not in RESULT and text.strip(",")]
        if "_lastUpdated" in filters:  # A poll comes in the order of arrival, unless it names something.
            arrival = ["_lastUpdated"]
            orders = [arrival] if set(filters) == {"_lastUpdated"} else [newest, arrival]
        return [[one["id"] for one in ordered(self, found, keys)] for keys in orders]


def row_of(type: str, name: str) -> Row | None:
    if type == "DiagnosticReport":
        name = ALIASES.get(name, name)
    return ROWS.get(type, {}).get(name) or COMMON.get(name)


def elements(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from elements(one, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from elements(value[path[0]], path[1:])


def at(resource: Json, row: Row) -> list[Any]:
    """Values at a path; `.` is the resource itself."""
    found = [
        one for path in row.paths.split() for one in elements(resource, list(filter(None, path.split("."))))
    ]
    if row.kind == "contact":
        return [one for one in found if row.system in ("", one.get("system"))]
    if row.kind == "presence":
        return [any(one is not False for one in found)]
    return [texts_of(resource)] if row == COMMON["_content"] else found


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


# --- one parameter on one resource


def holds(world: World, resource: Json, name: str, text: str, root: Json) -> bool:
    """Whether a parameter holds; `root` is the resource whose `contained` a `#reference` looks into."""
    if name.startswith("_has:"):
        _, type, reference, inner = name.split(":", 3)
        return resource is root and any(  # Nothing but its owner can refer to what is contained.
            refers_to(world, other, reference, resource) and holds(world, other, inner, text, other)
            for other in world.of(type)
        )
    head, dot, rest = name.partition(".")
    base, _, modifier = head.partition(":")
    if base == "order":  # Decision D14.
        names = ("based-on", "based-on.identifier", "identifier")
        return any(holds(world, resource, one, text, root) for one in names)
    row = row_of(resource["resourceType"], base)
    if row is None:
        raise LookupError(name)
    if row.kind == "reference":
        found = references(resource, row, root)
        if dot:
            return chained(world, found, modifier, rest, text, row, root)
        return reference_holds(world, found, text, modifier, row)
    values = [v for v in split(text, ",") if v]
    if row.kind == "composite":
        return any(together(world, resource, row, value) for value in values)
    found = [one for one in at(resource, row) if holds_something(one)]
    if row.kind == "id" and base == "_id" and resource is not root:
        found = []  # The id of what is contained is nobody's outside.
    if modifier == "missing":
        return (text == "true") == (not found)
    return values_hold(world, found, values, modifier, row)


def reference_holds(world: World, found: list[Json], text: str, modifier: str, row: Row) -> bool:
    if modifier == "missing":
        return (text == "true") == (not any(set(one) - {"extension", "id"} for one in found))
    if modifier == "identifier":
        return any(identified(one, text) for one in found)
    values = [plain(v) for v in split(text, ",") if v]
    return any(points(world, one, v, row, modifier) for one in found for v in values)


def values_hold(world: World, found: list[Any], values: list[str], modifier: str, row: Row) -> bool:
    if row.kind == "date":
        return any(date_is(span_of(one), value, world.now) for one in found for value in values)
    return MATCH[row.kind](found, values, modifier, row)


def together(world: World, resource: Json, row: Row, text: str) -> bool:
    """https://hl7.org/fhir/R4/search.html#composite: both, of the same repetition."""
    values = split(text, "$")

    def part_holds(element: Json, part: Row, value: str) -> bool:
        found = [one for one in at(element, part) if holds_something(one)]
        if part.kind == "reference":
            return any(points(world, one, plain(value), part, "") for one in found)
        return values_hold(world, found, [value], "", part)

    inside = at(resource, row) if row.paths else [resource]
    return any(
        all(part_holds(element, part, value) for part, value in zip(row.parts, values, strict=True))
        for element in inside
    )


def holds_something(value: Any) -> bool:
    return not isinstance(value, dict) or bool(set(value) - {"extension", "id"})


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


# --- reference: https://hl7.org/fhir/R4/search.html#reference

RESTFUL: Final = re.compile(r"(https?://.+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/(.+))?")


class Place(NamedTuple):
    """A reference taken apart; `where` is empty for what is ours."""

    where: str
    type: str
    id: str
    version: str | None


def place(world: World, text: str) -> Place | None:
    found = RESTFUL.fullmatch(text)
    if found is None:
        return None
    root = found[1] or ""
    return Place("" if root == f"{world.base}/" else root, found[2], found[3], found[4])


def contained(root: Json, text: str) -> Json | None:
    return next((one for one in root.get("contained", []) if f"#{one.get('id')}" == text), None)


def type_of(reference: Json, root: Json) -> str | None:
    """Targets that a reference names, not looked up."""
    text = reference.get("reference", "")
    if text.startswith("#"):
        return (contained(root, text) or {}).get("resourceType") or reference.get("type")
    found = RESTFUL.fullmatch(text)
    return found[2] if found else reference.get("type")


def references(resource: Json, row: Row, root: Json) -> list[Json]:
    """References to a Patient for `patient`, and identifiers that do not say whose they are."""
    found = at(resource, row)
    if not row.only:
        return found
    return [
        one
        for one in found
        if (type_of(one, root) or (row.only if "identifier" in one else None)) == row.only
    ]


def points(world: World, reference: Json, value: str, row: Row, only: str) -> bool:
    text = reference.get("reference")
    if text is None or text.startswith("#"):
        return False
    stored, asked = place(world, text), place(world, value)
    if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", value):
        return (
            stored is not None
            and (stored.where, stored.id) == ("", value)
            and (stored.type == only if only else stored.type in row.targets)
        )
    if stored is None or asked is None:
        return bool(text == value)
    # Decision D5: without a version every version is meant.
    return stored[:3] == asked[:3] and asked.version in (None, stored.version)


def identified(reference: Json, text: str) -> bool:
    identifier = reference.get("identifier")
    if identifier is None:
        return False
    pair = (identifier.get("system"), identifier.get("value"))
    return any(token_is(pair, value, folded=False) for value in split(text, ",") if value)


def resolve(world: World, reference: Json, root: Json) -> tuple[Json, Json] | None:
    """The target, and the resource that its own `#references` are looked up in."""
    text = reference.get("reference", "")
    if text.startswith("#"):
        inner = contained(root, text)
        return None if inner is None else (inner, root)
    found = place(world, text)
    if found is None or found.where:
        return None
    target = world.resources.get((found.type, found.id))
    return None if target is None else (target, target)


def refers_to(world: World, resource: Json, name: str, target: Json) -> bool:
    row = row_of(resource["resourceType"], name)
    assert row is not None
    found = references(resource, row, resource)
    return any((hit := resolve(world, one, resource)) is not None and hit[0] is target for one in found)


def chained(world: World, found: list[Json], only: str, rest: str, text: str, row: Row, root: Json) -> bool:
    """https://hl7.org/fhir/R4/search.html#chaining, contained targets included."""
    types = (only,) if only else row.targets
    name = re.split("[.:]", rest)[0]
    for one in found:
        hit = resolve(world, one, root)
        if hit is not None:
            target, inside = hit
            type = target["resourceType"]
            defined = rest.startswith("_has:") or row_of(type, name) is not None
            if type in types and defined and holds(world, target, rest, text, inside):
                return True
        # Decision D6: the target may never arrive.
        if rest == "identifier" and type_of(one, root) in (None, *types) and identified(one, text):
            return True
    return False


# --- order: https://hl7.org/fhir/R4/search.html#sort


def ordered(world: World, found: Iterable[Json], keys: Sequence[str]) -> list[Json]:
    """By each key, at last by id in the direction of the last key; what lacks a value is the lowest."""
    result = list(found)
    keys = [*keys, f"{'-' if keys[-1].startswith('-') else ''}_id"]
    for key in reversed(keys):
        name = key.removeprefix("-")
        by = partial(sort_key, world, name=name, descending=key != name)
        result.sort(key=by, reverse=key != name)
    return result


def sort_key(world: World, resource: Json, name: str, *, descending: bool) -> tuple[Any, ...]:
    """Sort value: of several values the first in the direction counts."""
    row = row_of(resource["resourceType"], name)
    assert row is not None
    if row.kind == "date":  # By the lower end, in both directions.
        spans = [span_of(one) for one in at(resource, row) if holds_something(one)]
        return (1, min(start for start, _ in spans)) if spans else (0,)
    if row.kind == "reference":
        values: list[Any] = list(spellings(world, resource, row))
    else:
        values = [value for one in at(resource, row) for value in SORTED_BY[row.kind](one, row)]
    return (1, (max if descending else min)(values)) if values else (0,)


def spellings(world: World, resource: Json, row: Row) -> Iterator[str]:
    """A reference sorts by where it leads, what is our own without our address."""
    for one in references(resource, row, resource):
        text = one.get("reference")
        if text is None:
            continue
        found = place(world, text)
        if text.startswith("#"):
            if contained(resource, text):
                yield f"{resource['resourceType']}/{resource['id']}{text}"
        elif found is None:
            yield text
        else:
            yield f"{found.where}{found.type}/{found.id}"
            if found.version:
                yield f"{found.where}{found.type}/{found.id}/_history/{found.version}"


def codes(value: Any, row: Row) -> list[str]:
    found = [code for _, code in pairs_of(value, row) if code is not None]
    return found if row.kind in ("identifier", "id") else [code.casefold() for code in found]


SORTED_BY: Final[dict[str, Callable[[Any, Row], list[Any]]]] = {
    **dict.fromkeys(("code", "token", "identifier", "id", "boolean", "contact", "presence"), codes),
    "string": lambda value, _: [fold(text) for text in parts_of(value)],
    "uri": lambda value, _: [value],
    "quantity": lambda value, _: [Decimal(str(value["value"]))] if "value" in value else [],
}
