"""Search side of a resource, by which it can be found: the table's rows of its type, compiled once.

Each element that is there is looked up in the compiled rows. `fields` hold every spelling under the
parameter's own field; `keys` repeat those worth an index entry of their own as `name=spelling`, alone and
together with the patient, so that one index serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.datatypes import Malformed, Path, listed
from store.fhir.instants import ABSENT, Interval
from store.fhir.issues import Issue
from store.search.bundled import with_patients
from store.search.keys import CONTAINED, key, keys_of, names_patient, scoped_key
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.readers import Field, IndexReading, Reader, reader
from store.search.values import content, references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.fhir.datatypes import Json, JsonObject
    from store.search.readers import Found

__all__ = ["CONTAINED", "INDEX_VERSION", "Indexed", "Inside", "index", "key", "names_patient", "scoped_key"]

INDEX_VERSION: Final = 6
"""Goes up when the same resource would be indexed differently; `dod reindex` brings the older ones up."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The search side of a contained resource: chains lead into it, nothing else finds it."""

    spelling: str
    """Spelling under which the references of its owner are stored that point at it."""
    type: str
    fields: Mapping[str, Field]
    when: Interval


@dataclass(frozen=True, slots=True)
class Indexed:
    """The search side of one resource."""

    fields: Mapping[str, Field]
    """Values by parameter name; lists are never empty, dates always there."""
    keys: tuple[str, ...]
    when: Interval = ABSENT
    """The clinical date, which orders the type."""
    issues: tuple[Issue, ...] = ()
    """Elements that could not be indexed, with their FHIRPath."""
    inside: tuple[Inside, ...] = ()
    """The contained resources."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Look at a resource: parameters of one type and expression, compiled."""

    paths: Mapping[str, Sequence[Path]]
    """Paths by the element that they begin with."""
    only: Path | None
    """The path, when there is but one."""
    read: Reader

    def found(self, resource: JsonObject) -> Found:
        """Values at the paths, in the order of the resource's elements."""
        if self.only is not None:
            value = resource.get(self.only.first)
            held = () if value is None else self.only.within(listed(value))
            return ((held, self.only.text),) if held else ()
        here = [name for name in self.paths if name in resource]
        if not here:
            return ()
        if len(here) > 1:
            here = [name for name in resource if name in self.paths]
        return [
            (values, path.text)
            for name in here
            for path in self.paths[name]
            if (values := path.within(listed(resource[name])))
        ]


class _IndexPlan(NamedTuple):
    """The rows of a resource type by the elements that they look at: most of those are not there."""

    always: Sequence[_Look]
    """Looks that store something for every resource: dates, and whether an element is there."""
    by_element: dict[str, list[_Look]]


@cache
def _plan(resource_type: str) -> _IndexPlan:
    """The table's rows for a type, compiled once."""
    alike: dict[object, list[Parameter]] = {}
    for row in TYPES[resource_type].rows:
        if row.paths:
            alike.setdefault(row.expression if row.type is SearchType.REFERENCE else row, []).append(row)
    always: list[_Look] = []
    by_element: dict[str, list[_Look]] = {}
    for rows in alike.values():
        paths: dict[str, list[Path]] = {}
        for path in rows[0].paths:
            paths.setdefault(path.first, []).append(path)
        look = _Look(paths, rows[0].paths[0] if len(rows[0].paths) == 1 else None, reader(rows))
        if rows[0].type is SearchType.DATE or rows[0].presence:
            always.append(look)
        else:
            for name in paths:
                by_element.setdefault(name, []).append(look)
    return _IndexPlan(always, by_element)


def index(
    resource: JsonObject,
    resource_type: str,
    *,
    base: str | None = None,
    resource_id: str | None = None,
    said: Sequence[str] | None = None,
) -> Indexed:
    """Index one resource; `base` is the tenant's own base URL, to know our own absolute references.

    Without `resource_id` nothing can lead into what is contained. `said` is what `elements.walk` found to be
    said in it, when that is known already.
    """
    issues: list[Issue] = []
    contained: Mapping[str, JsonObject] = {}
    try:
        if "contained" in resource:
            contained = references.contained_in(resource)
    except Malformed as error:
        issues.append(_issue(resource_type, error))
    owner = None if resource_id is None else f"{resource_type}/{resource_id}"
    reading = IndexReading(contained, base, owner)
    issues += _read(reading, resource, resource_type, said)
    inside = tuple(_inside(contained, owner, base)) if owner and contained else ()
    types = dict.fromkeys(one.type for one in inside)
    keys = (*keys_of(resource_type, reading.fields), *[key(CONTAINED, one) for one in types])
    return Indexed(reading.fields, keys, reading.when, tuple(dict.fromkeys(issues)), inside)


def _read(
    reading: IndexReading, resource: JsonObject, resource_type: str, said: Sequence[str] | None = None
) -> Sequence[Issue]:
    """Read a resource by the rows of its type; issues of what cannot be indexed."""
    issues: list[Issue] = []
    shown = with_patients(resource) if resource_type == "Bundle" else resource
    for look, found in _looks(_plan(resource_type), dict(shown)):
        try:
            look.read(reading, found)
        except Malformed as error:
            issues.append(_issue(resource_type, error))
    words = content.content(resource) if said is None else content.words(said)
    if words:
        reading.fields["_content"] = words
    return issues


def _looks(plan: _IndexPlan, resource: dict[str, Json]) -> list[tuple[_Look, Found]]:
    """Looks to take, in the order of the resource's elements."""
    looks: list[tuple[_Look, Found]] = [(look, look.found(resource)) for look in plan.always]
    by_element = plan.by_element
    for name, value in resource.items():
        if name not in by_element or value is None:
            continue
        values = value if isinstance(value, list) else (value,)
        for look in by_element[name]:
            path = look.only
            if path is None:
                found = look.found(resource)
                # All at once, where the first of them is.
                if found and found[0][1].partition(".")[0] == name:
                    looks.append((look, found))
            elif held := path.within(values):
                looks.append((look, ((held, path.text),)))
    return looks


def _inside(contained: Mapping[str, JsonObject], owner: str, base: str | None) -> Iterator[Inside]:
    """Contained resources, as far as they can be indexed: the owner is not refused for them.

    They may refer to one another, as a role to its practitioner.
    """
    for inner_id, inner in contained.items():
        inner_type = inner.get("resourceType")
        if isinstance(inner_type, str) and inner_type in TYPES:
            alone = {name: value for name, value in inner.items() if name != "contained"}
            reading = IndexReading(contained, base, owner)
            _read(reading, alone, inner_type)
            yield Inside(references.within(owner, inner_id), inner_type, reading.fields, reading.when)


def _issue(resource_type: str, error: Malformed) -> Issue:
    path = f"{resource_type}.{error.path.lstrip('.')}"
    return Issue("value", f"`{path}` {error.rule}", (path,))
