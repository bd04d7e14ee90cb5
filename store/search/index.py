"""What is stored beside a resource so that it can be found. Walks the table once per push.

`fields` hold every spelling under the parameter's own field; `keys` repeat those worth an index entry of
their own as `name=spelling`, alone and together with the patient, so that one index serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from store.fhir.datatypes import Malformed, object_of
from store.fhir.instants import ABSENT, Interval
from store.fhir.issues import Issue
from store.fhir.references import parse as parse_reference
from store.search import content, dates, quantities, references, strings, tokens
from store.search.parameters import TYPES, Parameter, ResourceType, SearchType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from store.fhir.datatypes import Json, JsonObject
    from store.search.quantities import StoredQuantity
    from store.search.references import Referred

INDEX_VERSION: Final = 3
"""Goes up when the same resource would be indexed differently; `dod reindex` brings the older ones up."""

Field: TypeAlias = "list[str] | list[StoredQuantity] | list[Fields] | Interval | str"
Fields: TypeAlias = "dict[str, Field]"
"""By parameter name."""


Found: TypeAlias = "list[tuple[Json, str]]"


@dataclass(frozen=True, slots=True)
class Inside:
    """The search side of a contained resource: chains lead into it, nothing else finds it."""

    spelling: str
    """How the references of its owner are stored that point at it."""
    type: str
    fields: Mapping[str, Field]
    when: Interval


@dataclass(frozen=True, slots=True)
class Indexed:
    """The search side of one resource."""

    fields: Mapping[str, Field]
    """By parameter name; lists are never empty, dates always there."""
    keys: tuple[str, ...]
    when: Interval = ABSENT
    """The clinical date, which orders the type."""
    issues: tuple[Issue, ...] = ()
    """Elements that could not be indexed, with their FHIRPath."""
    inside: tuple[Inside, ...] = ()
    """The contained resources."""


CONTAINED: Final = "contained"
"""The name of the entries that say which types a resource contains."""


def key(name: str, spelling: str) -> str:
    """An entry of the `keyed` index."""
    return f"{name}={spelling}"


def scoped_key(patient_key: str, name: str, spelling: str) -> str:
    """An entry that holds the patient too."""
    return f"{patient_key}&{name}={spelling}"


@dataclass(slots=True)
class _Reading:
    """One resource while it is indexed."""

    contained: Mapping[str, JsonObject]
    base: str | None
    owner: str | None = None
    """`Type/id` of the resource."""
    fields: Fields = field(default_factory=dict)
    when: Interval = ABSENT
    seen: dict[str, list[Referred]] = field(default_factory=dict)
    """References by path: `subject` and `patient` look at the same element."""


def index(
    resource: JsonObject, resource_type: str, *, base: str | None = None, resource_id: str | None = None
) -> Indexed:
    """Index one resource; `base` is the tenant's own base URL, to know our own absolute references.

    Without `resource_id` nothing can lead into what is contained.
    """
    row = TYPES[resource_type]
    issues: list[Issue] = []
    contained: Mapping[str, JsonObject] = {}
    try:
        if "contained" in resource:
            contained = references.contained_in(resource)
    except Malformed as error:
        issues.append(_issue(resource_type, error))
    owner = None if resource_id is None else f"{resource_type}/{resource_id}"
    reading = _Reading(contained, base, owner)
    for parameter, found in _found(row, resource).items():
        try:
            _READERS[parameter.type](reading, parameter, found)
        except Malformed as error:
            issues.append(_issue(resource_type, error))
    said = content.content(resource)
    if said:
        reading.fields["_content"] = said
    inside = tuple(_inside(contained, owner, base)) if owner and contained else ()
    types = dict.fromkeys(one.type for one in inside)
    keys = (*_keys(row, reading.fields), *(key(CONTAINED, one) for one in types))
    return Indexed(reading.fields, keys, reading.when, tuple(dict.fromkeys(issues)), inside)


def _inside(contained: Mapping[str, JsonObject], owner: str, base: str | None) -> Iterator[Inside]:
    """What is contained, as far as it can be indexed: the owner is not refused for it."""
    for inner_id, inner in contained.items():
        inner_type = inner.get("resourceType")
        if isinstance(inner_type, str) and inner_type in TYPES:
            alone = {name: value for name, value in inner.items() if name != "contained"}
            found = index(alone, inner_type, base=base)
            yield Inside(references.within(owner, inner_id), inner_type, found.fields, found.when)


def _found(row: ResourceType, resource: JsonObject) -> dict[Parameter, Found]:
    """What stands at the paths of each parameter, each with its path; some also when there is nothing.

    Goes by the elements that are there: most rows are about others.
    """
    found: dict[Parameter, Found] = {parameter: [] for parameter in row.always}
    for name in resource:
        for parameter, path in row.by_element.get(name, ()):
            values = path.values(resource)
            if values:
                found.setdefault(parameter, []).extend([(value, path.text) for value in values])
    return found


def _issue(resource_type: str, error: Malformed) -> Issue:
    path = f"{resource_type}.{error.path.lstrip('.')}"
    return Issue("value", f"`{path}` {error.rule}", (path,))


def _put(fields: Fields, name: str, spelled: list[str]) -> None:
    if spelled:
        fields[name] = list(dict.fromkeys(spelled))


def _read_tokens(reading: _Reading, parameter: Parameter, found: Found) -> None:
    name = parameter.name
    if parameter.presence:
        reading.fields[name] = tokens.presence(found)
        return
    spelled = [one for value, path in found for one in tokens.index(value, parameter, path)]
    _put(reading.fields, name, spelled)
    _put(reading.fields, f"{name}:text", tokens.texts(value for value, _ in found))
    if name == "identifier":
        _put(reading.fields, f"{name}:of-type", tokens.of_type(value for value, _ in found))


def _read_dates(reading: _Reading, parameter: Parameter, found: Found) -> None:
    intervals = [dates.index(value, path) for value, path in found]
    interval = intervals[0] if len(intervals) == 1 else dates.union(intervals)
    if parameter.when:
        reading.when = interval
    else:
        reading.fields[parameter.name] = interval


def _read_strings(reading: _Reading, parameter: Parameter, found: Found) -> None:
    said = [text for value, path in found for text in strings.texts(value, path)]
    _put(reading.fields, parameter.name, [word for text in said for word in strings.words(text)])
    _put(reading.fields, f"{parameter.name}:exact", [text for text in said if len(text) <= strings.TEXT_MAX])
    _put(reading.fields, f"{parameter.name}:sort", strings.ends(said))


def _read_uris(reading: _Reading, parameter: Parameter, found: Found) -> None:
    for value, path in found:
        if not isinstance(value, str):
            raise Malformed(path, "must be a URI")
    _put(reading.fields, parameter.name, [str(value) for value, _ in found])


def _read_quantities(reading: _Reading, parameter: Parameter, found: Found) -> None:
    numbers = [quantities.index(value, path) for value, path in found]
    kept = [number for number in numbers if number is not None]
    if kept:
        reading.fields[parameter.name] = kept


def _read_words(reading: _Reading, parameter: Parameter, found: Found) -> None:
    for value, path in found:
        if not isinstance(value, str):
            raise Malformed(path, "must be a string")
        words = content.narrative(value)
        if words:
            reading.fields[parameter.name] = words


def _read_composites(reading: _Reading, parameter: Parameter, found: Found) -> None:
    """Each repetition of the element that has all parts, with its parts."""
    groups: list[Fields] = []
    for value, path in found:
        element = object_of(value, path)
        inner = _Reading(reading.contained, reading.base)
        for part in parameter.components:
            held = [(one, f"{path}.{at.text}") for at in part.paths for one in at.values(element)]
            if held:
                _READERS[part.type](inner, part, held)
        names = [part.name for part in parameter.components]
        if all(name in inner.fields for name in names):
            groups.append({name: inner.fields[name] for name in names})
    if groups:
        reading.fields[parameter.name] = groups


def _read_references(reading: _Reading, parameter: Parameter, found: Found) -> None:
    at, name = parameter.expression, parameter.name
    if at not in reading.seen:
        contained, base, owner = reading.contained, reading.base, reading.owner
        reading.seen[at] = [
            references.index(v, p, contained=contained, base=base, owner=owner) for v, p in found
        ]
    referred = reading.seen[at]
    if parameter.only is not None:
        referred = [references.narrowed(one, parameter.only) for one in referred]
    _put(reading.fields, name, [spelling for one in referred for spelling in one.targets])
    if any(one.logical or one.contained for one in referred):
        _put(reading.fields, f"{name}:identifier", [token for one in referred for token in one.logical])
        _put(reading.fields, f"{name}>identifier", [token for one in referred for token in one.contained])
        carried = [(one.type or "", token) for one in referred for token in (*one.logical, *one.contained)]
        if parameter.only is None:
            _put(reading.fields, f"{name}>typed", [f"{type}>{token}" for type, token in carried])
    if any(one.unspelled for one in referred):
        _put(reading.fields, f"{name}:unspelled", ["true"])


_READERS: Final[Mapping[SearchType, Callable[[_Reading, Parameter, Found], None]]] = {
    SearchType.TOKEN: _read_tokens,
    SearchType.REFERENCE: _read_references,
    SearchType.DATE: _read_dates,
    SearchType.STRING: _read_strings,
    SearchType.URI: _read_uris,
    SearchType.QUANTITY: _read_quantities,
    SearchType.WORDS: _read_words,
    SearchType.COMPOSITE: _read_composites,
}


def _keys(row: ResourceType, fields: Fields) -> Iterator[str]:
    patient = row.by_name.get("patient")
    patients = list(_reference_keys(patient, fields)) if patient else []
    yield from patients
    for parameter in row.keyed:
        name = parameter.name
        if parameter.type is SearchType.REFERENCE:
            if parameter is not patient:
                yield from _reference_keys(parameter, fields)
        elif name in fields:
            held = fields[name]
            codes = _codes(held) if parameter.type is SearchType.TOKEN else [str(one) for one in held]
            if parameter.keyed:
                yield from (key(name, code) for code in codes)
            if parameter.scoped:
                yield from (scoped_key(one, name, code) for one in patients for code in codes)


def _codes(spellings: Iterable[object]) -> list[str]:
    """The codes among the spellings of a token, each without its system."""
    return [s for s in spellings if isinstance(s, str) and ("|" not in s or tokens.is_bare(s))]


def _reference_keys(parameter: Parameter, fields: Fields) -> Iterator[str]:
    name, narrower = parameter.name, parameter.narrower
    for spelling in fields.get(name, ()):
        if isinstance(spelling, str) and (narrower is None or not names_patient(spelling)):
            yield key(name, spelling)
    for held in (f"{name}:identifier", f"{name}>identifier"):
        if held in fields:
            # With the system as well: they are few, and a chain then needs no second look.
            yield from (key(parameter.identifier_key, str(s)) for s in fields[held] if tokens.bare(str(s)))


def names_patient(spelling: str) -> bool:
    """Whether a reference's spelling says that it points at a Patient."""
    # As `patient` itself is indexed; the first test spares most others the second.
    return "Patient/" in spelling and parse_reference(spelling).type == "Patient"
