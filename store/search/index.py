"""What is stored beside a resource so that it can be found. Walks the table once per push.

`fields` hold every spelling under the parameter's own field; `keys` repeat those worth an index entry of
their own as `name=spelling`, alone and together with the patient, so that one index serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from store.fhir.datatypes import Malformed
from store.fhir.instants import ABSENT, Interval
from store.fhir.issues import Issue
from store.fhir.references import parse as parse_reference
from store.search import dates, references, tokens
from store.search.parameters import TYPES, Parameter, ResourceType, SearchType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.search.references import Referred

INDEX_VERSION: Final = 1
"""Goes up when the same resource would be indexed differently; `dod reindex` brings the older ones up."""

Fields: TypeAlias = "dict[str, list[str] | Interval]"


@dataclass(frozen=True, slots=True)
class Indexed:
    """The search side of one resource."""

    fields: Mapping[str, list[str] | Interval]
    """By parameter name; lists are never empty, dates always there."""
    keys: tuple[str, ...]
    when: Interval = ABSENT
    """The clinical date, which orders the type."""
    issues: tuple[Issue, ...] = ()
    """Elements that could not be indexed, with their FHIRPath."""


def key(name: str, spelling: str) -> str:
    """An entry of the `keyed` index."""
    return f"{name}={spelling}"


def scoped_key(patient_key: str, name: str, spelling: str) -> str:
    """An entry that holds the patient too."""
    return f"{patient_key}&{name}={spelling}"


def index(resource: JsonObject, resource_type: str, *, base: str | None = None) -> Indexed:
    """Index one resource; `base` is the tenant's own base URL, to know our own absolute references."""
    row = TYPES[resource_type]
    fields: Fields = {}
    issues: list[Issue] = []
    when = ABSENT
    try:
        contained = references.contained_in(resource) if "contained" in resource else {}
    except Malformed as error:
        contained = {}
        issues.append(_issue(resource_type, error))
    seen: dict[str, list[Referred]] = {}  # `subject` and `patient` look at the same element.
    for parameter in row.indexed:
        found = _found(parameter, resource)
        try:
            if parameter.type is SearchType.DATE:
                interval = _interval(found)
                if parameter.when:
                    when = interval
                else:
                    fields[parameter.name] = interval
            elif not found:
                continue
            elif parameter.type is SearchType.TOKEN:
                _put(fields, parameter.name, _tokens(parameter, found))
            else:
                at = parameter.expression
                if at not in seen:
                    seen[at] = [references.index(v, p, contained=contained, base=base) for v, p in found]
                _references(fields, parameter, seen[at])
        except Malformed as error:
            issues.append(_issue(resource_type, error))
    return Indexed(fields, tuple(_keys(row, fields)), when, tuple(dict.fromkeys(issues)))


def _found(parameter: Parameter, resource: JsonObject) -> list[tuple[Json, str]]:
    """What stands at the parameter's paths, each with its path."""
    return [
        (value, path.text)
        for path in parameter.paths
        if path.names[0] in resource  # Most rows are about elements that are not there.
        for value in path.values(resource)
    ]


def _issue(resource_type: str, error: Malformed) -> Issue:
    path = f"{resource_type}.{error.path.lstrip('.')}"
    return Issue("value", f"`{path}` {error.rule}", (path,))


def _put(fields: Fields, name: str, spelled: list[str]) -> None:
    if spelled:
        fields[name] = list(dict.fromkeys(spelled))


def _tokens(parameter: Parameter, found: list[tuple[Json, str]]) -> list[str]:
    return [spelling for value, path in found for spelling in tokens.index(value, parameter, path)]


def _interval(found: list[tuple[Json, str]]) -> Interval:
    if not found:
        return ABSENT
    intervals = [dates.index(value, path) for value, path in found]
    return intervals[0] if len(intervals) == 1 else dates.union(intervals)


def _references(fields: Fields, parameter: Parameter, referred: Sequence[Referred]) -> None:
    if parameter.only is not None:
        referred = [references.narrowed(one, parameter.only) for one in referred]
    name = parameter.name
    _put(fields, name, [spelling for one in referred for spelling in one.targets])
    if any(one.logical or one.contained for one in referred):
        _put(fields, f"{name}:identifier", [token for one in referred for token in one.logical])
        _put(fields, f"{name}>identifier", [token for one in referred for token in one.contained])


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
            codes = _codes(fields[name])
            if parameter.keyed:
                yield from (key(name, code) for code in codes)
            if parameter.scoped:
                yield from (scoped_key(one, name, code) for one in patients for code in codes)


def _codes(spellings: Iterable[str | int]) -> list[str]:
    """The codes among the spellings of a token, each without its system."""
    return [s for s in spellings if isinstance(s, str) and ("|" not in s or tokens.is_bare(s))]


def _reference_keys(parameter: Parameter, fields: Fields) -> Iterator[str]:
    name, narrower = parameter.name, parameter.narrower
    for spelling in fields.get(name, ()):
        if isinstance(spelling, str) and (narrower is None or not names_patient(spelling)):
            yield key(name, spelling)
    for field in (f"{name}:identifier", f"{name}>identifier"):
        if field in fields:
            yield from (key(parameter.identifier_key, code) for code in _codes(fields[field]))


def names_patient(spelling: str) -> bool:
    """Whether a reference's spelling says that it points at a Patient."""
    # As `patient` itself is indexed; the first test spares most others the second.
    return "Patient/" in spelling and parse_reference(spelling).type == "Patient"
