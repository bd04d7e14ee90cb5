"""Readers of each search type: what is stored for the values of a parameter; rows compiled to functions.

All that depends on the row alone is decided once, when the row is compiled, and not for each resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from store.fhir.datatypes import JsonObject, Malformed, object_of
from store.fhir.instants import ABSENT, Interval
from store.search.rows.parameter import Parameter, SearchType
from store.search.values import content, dates, quantities, references, strings, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store.fhir.datatypes import Json
    from store.search.values.quantities import StoredQuantity

Found: TypeAlias = "Sequence[tuple[Sequence[Json], str]]"
"""Values at the paths of a parameter, and the path they were found at."""
Reader: TypeAlias = "Callable[[IndexReading, Found], None]"
"""Puts what was found where it is stored. Raises Malformed with the place."""
Field: TypeAlias = "list[str] | list[StoredQuantity] | list[Fields] | list[dict[str, int]] | Interval | str"
Fields: TypeAlias = "dict[str, Field]"
"""Fields by parameter name."""


@dataclass(slots=True)
class IndexReading:
    """Resource while it is indexed."""

    contained: Mapping[str, JsonObject]
    base: str | None
    owner: str | None = None
    """`Type/id` of the resource."""
    fields: Fields = field(default_factory=dict)
    when: Interval = ABSENT


def reader(parameters: Sequence[Parameter]) -> Reader:
    """Reader of the values of parameters of one type and expression."""
    if parameters[0].type is SearchType.REFERENCE:
        return _references(parameters)
    [parameter] = parameters
    return _COMPILED[parameter.type](parameter)


def _put(fields: Fields, name: str, spelled: list[str]) -> None:
    """Each once, in order; nothing when there is none."""
    if len(spelled) > 1:
        fields[name] = list(dict.fromkeys(spelled))
    elif spelled:
        fields[name] = spelled


def _tokens(parameter: Parameter) -> Reader:
    name, text = parameter.name, f"{parameter.name}:text"
    of_type = f"{name}:of-type" if name == "identifier" else None

    def read(reading: IndexReading, found: Found) -> None:
        spelled: list[str] = []
        words: list[str] = []
        for values, path in found:
            for value in values:
                spellings, said = tokens.said(value, parameter, path)
                spelled += spellings
                words += said
        _put(reading.fields, name, spelled)
        _put(reading.fields, text, words)
        if of_type is not None:
            _put(reading.fields, of_type, [one for values, _ in found for one in tokens.of_type(values)])

    def read_presence(reading: IndexReading, found: Found) -> None:
        said = [tokens.present(value, path) for values, path in found for value in values]
        reading.fields[name] = ["true" if any(said) else "false"]

    return read_presence if parameter.presence else read


def _dates(parameter: Parameter) -> Reader:
    name = parameter.name

    def each(found: Found) -> list[Interval]:
        return [dates.index(value, path) for values, path in found for value in values]

    def interval(found: Found) -> Interval:
        if not found:
            return ABSENT
        intervals = each(found)
        return intervals[0] if len(intervals) == 1 else dates.union(intervals)

    def read(reading: IndexReading, found: Found) -> None:
        reading.fields[name] = interval(found)

    def read_each(reading: IndexReading, found: Found) -> None:
        read(reading, found)
        spans = [{"lo": one.start, "hi": one.end} for one in each(found) if one != ABSENT]
        if spans:
            reading.fields[f"{name}:each"] = spans

    def read_when(reading: IndexReading, found: Found) -> None:
        reading.when = interval(found)

    return read_when if parameter.when else read_each if parameter.repeats else read


def _strings(parameter: Parameter) -> Reader:
    name, exact, sort = parameter.name, f"{parameter.name}:exact", f"{parameter.name}:sort"

    def read(reading: IndexReading, found: Found) -> None:
        said = [text for values, path in found for value in values for text in strings.texts(value, path)]
        _put(reading.fields, name, [word for text in said for word in strings.words(text)])
        _put(reading.fields, exact, [text for text in said if len(text) <= strings.TEXT_MAX])
        _put(reading.fields, sort, strings.ends(said))

    return read


def _uris(parameter: Parameter) -> Reader:
    def read(reading: IndexReading, found: Found) -> None:
        for values, path in found:
            if any(not isinstance(value, str) for value in values):
                raise Malformed(path, "must be a URI")
        said = [str(value) for values, _ in found for value in values]
        if parameter.canonical:
            said += [url for one in said if (url := one.partition("|")[0])]
        _put(reading.fields, parameter.name, said)

    return read


def _quantities(parameter: Parameter) -> Reader:
    def read(reading: IndexReading, found: Found) -> None:
        numbers = [quantities.index(value, path) for values, path in found for value in values]
        kept = [number for number in numbers if number is not None]
        if kept:
            reading.fields[parameter.name] = kept

    return read


def _words(parameter: Parameter) -> Reader:
    def read(reading: IndexReading, found: Found) -> None:
        for values, path in found:
            for value in values:
                if not isinstance(value, str):
                    raise Malformed(path, "must be a string")
                words = content.narrative(value)
                if words:
                    reading.fields[parameter.name] = words

    return read


def _composites(parameter: Parameter) -> Reader:
    """Each repetition of the element that has all parts, with its parts."""
    parts = [(part.name, part.paths, reader((part,))) for part in parameter.components]

    def read(reading: IndexReading, found: Found) -> None:
        groups: list[Fields] = []
        for values, path in found:
            for value in values:
                element = object_of(value, path)
                inner = IndexReading(reading.contained, reading.base)
                for _, paths, read_part in parts:
                    held = [(at.values(element), f"{path}.{at.text}") for at in paths]
                    if any(ones for ones, _ in held):
                        read_part(inner, held)
                if all(name in inner.fields for name, _, _ in parts):
                    groups.append({name: inner.fields[name] for name, _, _ in parts})
        if groups:
            reading.fields[parameter.name] = groups

    return read


def _references(parameters: Sequence[Parameter]) -> Reader:
    """`subject` and `patient` look at the same element: it is read once."""
    compiled = [
        (parameter.name, parameter.only and f"{parameter.only}/", _put_referred(parameter))
        for parameter in parameters
    ]

    def read(reading: IndexReading, found: Found) -> None:
        spelled = references.plain(found[0][0]) if len(found) == 1 else None
        if spelled is not None:
            for name, start, _ in compiled:
                own = spelled if start is None else [one for one in spelled if one.startswith(start)]
                _put(reading.fields, name, own)
            return
        contained, base, owner = reading.contained, reading.base, reading.owner
        referred = [
            references.index(value, path, contained=contained, base=base, owner=owner)
            for values, path in found
            for value in values
        ]
        for _, _, put in compiled:
            put(reading.fields, referred)

    return read


def _put_referred(parameter: Parameter) -> Callable[[Fields, list[references.Referred]], None]:
    name, only = parameter.name, parameter.only

    def put(fields: Fields, referred: list[references.Referred]) -> None:
        if only is not None:
            referred = [references.narrowed(one, only) for one in referred]
        _put(fields, name, [spelling for one in referred for spelling in one.targets])
        if any(one.logical or one.contained for one in referred):
            _put(fields, f"{name}:identifier", [token for one in referred for token in one.logical])
            _put(fields, f"{name}>identifier", [token for one in referred for token in one.contained])
            carried = [
                (one.type or "", token) for one in referred for token in (*one.logical, *one.contained)
            ]
            if only is None:
                _put(fields, f"{name}>typed", [f"{type}>{token}" for type, token in carried])
        if any(one.unspelled for one in referred):
            _put(fields, f"{name}:unspelled", ["true"])

    return put


_COMPILED: Final[Mapping[SearchType, Callable[[Parameter], Reader]]] = {
    SearchType.TOKEN: _tokens,
    SearchType.DATE: _dates,
    SearchType.STRING: _strings,
    SearchType.URI: _uris,
    SearchType.QUANTITY: _quantities,
    SearchType.WORDS: _words,
    SearchType.COMPOSITE: _composites,
}
