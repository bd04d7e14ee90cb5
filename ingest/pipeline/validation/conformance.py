"""Rules of R4's definitions for a resource: the one walk by datatype, and which lists are made straight.

A deviation is named after the tolerance that it takes. Lenient handling keeps the resource and names it in
the reply, strict handling refuses. Profiles and terminology are nobody's business here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.pipeline.bundle_entries import is_kept_whole
from ingest.pipeline.validation.deviations import (
    DEAD,
    INSIDE,
    LIST,
    LONE,
    MENDABLE,
    MISSING,
    NULL,
    REVERSED,
    TEXTS,
    UNKNOWN,
    WRONG,
)
from ingest.pipeline.validation.primitives import CHECKS
from store.fhir.datatypes import JsonObject, listed
from store.fhir.definitions import definitions
from store.fhir.elements import DEPTH_MAX, FAULTS_MAX, spelled
from store.fhir.instants import parse
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.pipeline.validation.primitives import Check
    from store.fhir.datatypes import Json
    from store.fhir.definitions import Definition, Element

    Where = tuple[Any, str | int] | None


class Looked(NamedTuple):
    """Findings of a walk by R4's definitions."""

    issues: tuple[Issue, ...] = ()
    """All deviations with their places, at most `FAULTS_MAX`. No value is quoted."""
    names: tuple[str, ...] = ()
    """The tolerances that they take, each once."""

    @property
    def mendable(self) -> tuple[str, ...]:
        """Deviations that `straightened` mends."""
        return tuple(name for name in self.names if name in MENDABLE)


class _Walk:
    """The deviations of one resource while it is walked through."""

    __slots__ = ("_contained", "_inside", "found")

    def __init__(self, contained: Json) -> None:
        self.found: list[tuple[Where, str]] = []
        self._contained = contained
        self._inside: frozenset[str] | None = None

    def tell(self, where: Where, kind: str) -> None:
        if len(self.found) < FAULTS_MAX:
            self.found.append((where, kind))

    def tell_of(self, value: Json, where: Where, kind: str) -> None:
        """Tell of a primitive, unless it refers to what is contained and that is there (ref-1)."""
        if kind != INSIDE:
            self.tell(where, kind)
        elif not self._is_inside(str(value)[1:]):
            self.tell(where, DEAD)

    def _is_inside(self, name: str) -> bool:
        if self._inside is None:
            inner = [one.get("id") for one in listed(self._contained) if isinstance(one, dict)]
            self._inside = frozenset(one for one in inner if isinstance(one, str))
        return not name or name in self._inside  # `#` alone is the whole resource.


class _Place:
    """Element of a type as the walk wants it: its check, or the shape of what it holds."""

    __slots__ = ("check", "many", "shape")

    def __init__(self, element: Element) -> None:
        self.check: Check | None = CHECKS.get(element.type)
        """None: it is no primitive."""
        self.many = element.many
        self.shape: _Shape | None = None
        """None: it is a primitive, or a resource of any type."""


class _Shape:
    """Definition of a type, ready to be compared with: each push walks through some twenty of them."""

    __slots__ = ("is_period", "name", "places", "required")

    def __init__(self, definition: Definition) -> None:
        self.name = definition.name
        self.is_period = definition.name == "Period"
        self.places = {name: _Place(element) for name, element in definition.elements.items()}
        self.required = [
            (name, (*spellings, *(f"_{one}" for one in spellings))) for name, spellings in definition.required
        ]
        """R4's name of each required element, and the names that tell that it is there."""


@cache
def _shapes() -> dict[str, _Shape]:
    """Shapes of all types by name."""
    made = {name: _Shape(definition) for name, definition in definitions().items()}
    for name, definition in definitions().items():
        for spelling, element in definition.elements.items():
            if element.definition is not None:
                made[name].places[spelling].shape = made[element.definition.name]
    return made


def look(resource: JsonObject) -> Looked:
    """Compare a resource with R4's definitions. Of a type that has none nothing is said."""
    on, shape = _Walk(resource.get("contained")), _shapes().get(str(resource.get("resourceType")))
    if shape is None:
        return _NOTHING
    _object(dict(resource), shape, (None, shape.name), 0, on)
    if not on.found:
        return _NOTHING
    issues = [_issue(spelled(where), kind) for where, kind in on.found]
    return Looked(tuple(issues), tuple(dict.fromkeys(kind for _, kind in on.found)))


_NOTHING: Final = Looked()


def _issue(path: str, kind: str) -> Issue:
    code, text = TEXTS[kind]
    return Issue(code, f"`{path}` {text}", (path,))


def _object(element: dict[str, Json], shape: _Shape, where: Where, depth: int, on: _Walk) -> None:
    """Walk an object and all that is in it."""
    places = shape.places
    for name, value in element.items():
        place = places.get(name)
        if place is None:
            if not (name.startswith("_") and _is_beside(name, places)):
                on.tell((where, name), UNKNOWN)
        elif isinstance(value, list):
            _members(value, place, (where, name), depth + 1, on)
        elif value is None:
            continue  # Told of by `structure`, as empty strings are.
        else:
            if place.many:
                on.tell((where, name), LONE)
            check = place.check
            if check is None:
                _value(value, place, (where, name), depth, on)
            elif (kind := check(value)) is not None:
                on.tell_of(value, (where, name), kind)
    for name, spellings in shape.required:
        if not _has_one(element, spellings):
            on.tell((where, name), MISSING)
    if shape.is_period and _is_reversed(element):
        on.tell(where, REVERSED)


def _has_one(element: dict[str, Json], names: Sequence[str]) -> bool:
    for name in names:  # noqa: SIM110 -- compiled, it is three times as fast as `any`
        if name in element:
            return True
    return False


def _members(values: Sequence[Json], known: _Place, where: Where, depth: int, on: _Walk) -> None:
    """Walk the members of an element that is a list."""
    if not known.many:
        alone = _is_of_one(values)
        on.tell(where, LIST if alone else WRONG)
        if alone:
            _value(values[0], known, where, depth, on)
        return
    for number, member in enumerate(values):
        _value(member, known, (where, number), depth, on)


def _is_of_one(values: Sequence[Json]) -> bool:
    return len(values) == 1 and values[0] is not None and not isinstance(values[0], list)


def _is_beside(name: str, places: Mapping[str, _Place]) -> bool:
    """Whether `_name` is the sibling of a primitive, which holds that one's id and extensions."""
    beside = places.get(name[1:])
    return beside is not None and beside.shape is None


def _value(value: Json, known: _Place, where: Where, depth: int, on: _Walk) -> None:
    """Walk the value of an element, or one member of its list."""
    check = known.check
    if check is not None:
        kind = None if value is None else check(value)  # A null in a list keeps a place beside its sibling.
        if kind is not None:
            on.tell_of(value, where, kind)
    elif value is None:
        on.tell(where, NULL)
    elif not isinstance(value, dict):
        on.tell(where, WRONG)
    elif depth < DEPTH_MAX:
        shape = known.shape
        if shape is None:
            shape = _shapes().get(str(value.get("resourceType"))) if _is_open(where) else None
        if shape is not None:
            _object(value, shape, where, depth + 1, on)


def _is_open(where: Where) -> bool:
    """Whether a resource within a resource is looked at: those of a Bundle stay as they came."""
    while where is not None:
        where, name = where
        if where is None:
            return name != "Bundle"
    return True


def _is_reversed(period: dict[str, Json]) -> bool:
    start, end = period.get("start"), period.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return False
    try:
        return parse(start).start >= parse(end).end
    except ValueError:
        return False  # Told of where the date stands.


def straightened(resource: JsonObject) -> JsonObject:
    """The resource with lists where R4 has lists and none where it has none."""
    shape = _shapes().get(str(resource.get("resourceType")))
    if shape is None or is_kept_whole(resource):
        return resource
    return _straight(resource, shape, 0)


def _straight(element: JsonObject, shape: _Shape, depth: int) -> JsonObject:
    if depth > DEPTH_MAX:
        return element
    done: dict[str, Json] = {}
    places = shape.places
    for name, value in element.items():
        known = places.get(name)
        if known is not None:
            done[name] = _straight_value(value, known, depth)
        elif name.startswith("_") and _is_beside(name, places):  # A list as that one.
            done[name] = _as_listed(value, many=places[name[1:]].many)
        else:
            done[name] = value
    return done


def _straight_value(value: Json, known: _Place, depth: int) -> Json:
    value = _as_listed(value, many=known.many)
    if not isinstance(value, list):
        return _within(value, known, depth)
    keeps_nulls = known.check is not None or not known.many
    return [_within(one, known, depth) for one in value if keeps_nulls or one is not None]


def _as_listed(value: Json, *, many: bool) -> Json:
    if many and value is not None and not isinstance(value, list):
        return [value]
    if not many and isinstance(value, list) and _is_of_one(value):
        lone: Json = value[0]
        return lone
    return value


def _within(value: Json, known: _Place, depth: int) -> Json:
    if not isinstance(value, dict):
        return value
    shape = known.shape or _shapes().get(str(value.get("resourceType")))
    return value if shape is None else _straight(value, shape, depth + 1)
