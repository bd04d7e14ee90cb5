"""A FHIR search by brute force over plain JSON: the definition in words, one resource after the other.

Written from the R4 text and the project's decisions, and importing nothing of the store: where the two
differ, one of them is wrong. Where both texts are silent it follows the store's docstrings. Slow and naive
on purpose. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.oracle.search.rows import ALIASES, CLINICAL_DATE, COMMON, ROWS, Row
from tests.oracle.search.values import (
    MATCH,
    date_is,
    fold,
    pairs_of,
    parts_of,
    plain,
    span_of,
    split,
    texts_of,
    token_is,
)

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
