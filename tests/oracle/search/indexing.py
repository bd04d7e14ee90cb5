"""The table read plainly: each row, each path, each value in turn, nothing compiled and nothing remembered.

What `store.search.index` makes of a resource must be equal to this. What one value is stored as is not asked
here: the tests of each search type do that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from store.fhir.datatypes import Malformed, Path
from store.fhir.instants import ABSENT, Interval
from store.search.bundled import with_patients
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.values import content, dates, quantities, references, strings, tokens
from store.search.values.references import Referred

Json = dict[str, Any]
Found = list[tuple[Any, str]]


class Plain(NamedTuple):
    """Entries stored for a resource, and the elements that cannot be indexed."""

    fields: Json
    keys: list[str]
    when: Interval
    places: list[str]
    unread: list[str]
    """The rows that those belong to. What is stored of them does not matter: the resource is refused."""


def index(resource: Json, resource_type: str, *, base: str | None = None) -> Plain:
    """Row by row, in the order of the table."""
    shown = dict(with_patients(resource)) if resource_type == "Bundle" else resource
    contained = references.contained_in(resource)
    fields: Json = {}
    places: list[str] = []
    unread: list[str] = []
    when = ABSENT
    for row in TYPES[resource_type].rows:
        found = [
            (value, path.text)
            for name in shown
            for path in _paths(row)
            if path.text.split(".")[0] == name
            for value in path.values(shown)
        ]
        if not row.expression or not (found or row.type is SearchType.DATE or row.presence):
            continue
        try:
            stored = _stored(row, found, contained, base)
        except Malformed as error:
            places.append(error.path)
            unread.append(row.name)
            continue
        if row.when:
            when = stored[row.name]
        else:
            fields |= stored
    said = content.content(resource)
    if said:
        fields["_content"] = said
    return Plain(fields, _keys(resource_type, fields), when, places, unread)


def _paths(row: Parameter) -> list[Path]:
    return [Path(text) for text in row.expression.split(" | ")]


def _stored(row: Parameter, found: Found, contained: Json, base: str | None) -> Json:
    """Entries under the parameter's name, and beside it."""
    name = row.name
    if row.type is SearchType.DATE:
        each = [dates.index(value, path) for value, path in found]
        spans = [{"lo": one.start, "hi": one.end} for one in each if one != ABSENT]
        return {name: dates.union(each), **({f"{name}:each": spans} if spans and row.repeats else {})}
    if row.type is SearchType.QUANTITY:
        numbers = [quantities.index(value, path) for value, path in found]
        return _there({name: [number for number in numbers if number is not None]})
    if row.type in (SearchType.WORDS, SearchType.URI):
        if not all(isinstance(value, str) for value, _ in found):
            raise Malformed(row.expression, "must be a text")
        texts = _once(value for value, _ in found)
        if row.type is SearchType.URI:
            bare = [text.partition("|")[0] for text in texts] if row.canonical else []
            return _there({name: _once([*texts, *filter(None, bare)])})
        words = [words for text, _ in found if (words := content.narrative(text))]
        return {name: words[-1]} if words else {}
    if row.type is SearchType.COMPOSITE:
        return _there({name: [group for one in found if (group := _group(row, *one, contained, base))]})
    if row.presence:
        return {name: ["true" if True in [tokens.present(*one) for one in found] else "false"]}
    spelled = {
        SearchType.TOKEN: lambda: _token(row, found),
        SearchType.STRING: lambda: _string(row, found),
        SearchType.REFERENCE: lambda: _reference(
            row, [references.index(value, path, contained=contained, base=base) for value, path in found]
        ),
    }[row.type]()
    return _there({f"{name}{suffix}": _once(those) for suffix, those in spelled.items()})


def _token(row: Parameter, found: Found) -> Json:
    values = [value for value, _ in found]
    return {
        "": [one for value, path in found for one in tokens.index(value, row, path)],
        ":text": tokens.texts(values),
        ":of-type": tokens.of_type(values) if row.name == "identifier" else [],
    }


def _string(_: Parameter, found: Found) -> Json:
    said = [text for value, path in found for text in strings.texts(value, path)]
    return {
        "": [word for text in said for word in strings.words(text)],
        ":exact": [text for text in said if len(text) <= strings.TEXT_MAX],
        ":sort": strings.ends(said),
    }


def _reference(row: Parameter, referred: list[Referred]) -> Json:
    if row.only is not None:
        referred = [references.narrowed(one, row.only) for one in referred]
    carried = [(one.type or "", token) for one in referred for token in (*one.logical, *one.contained)]
    return {
        "": [spelling for one in referred for spelling in one.targets],
        ":identifier": [token for one in referred for token in one.logical],
        ">identifier": [token for one in referred for token in one.contained],
        ">typed": [f"{kind}>{token}" for kind, token in carried] if row.only is None else [],
        ":unspelled": ["true" for one in referred if one.unspelled],
    }


def _group(row: Parameter, element: Any, path: str, contained: Json, base: str | None) -> Json | None:
    if not isinstance(element, dict):
        raise Malformed(path, "must be an object")
    group: Json = {}
    for part in row.components:
        held = [(value, f"{path}.{at.text}") for at in _paths(part) for value in at.values(element)]
        group |= _stored(part, held, contained, base)
    names = [part.name for part in row.components]
    return {name: group[name] for name in names} if all(name in group for name in names) else None


def _keys(resource_type: str, fields: Json) -> list[str]:
    keys: list[str] = []
    row = TYPES[resource_type]
    patient = row.by_name.get("patient")
    patients = _entries(patient, fields) if patient else []
    for one in row.keyed:
        entries = _entries(one, fields)
        keys += entries if one.keyed else []
        if one.scoped:
            keys += [f"{each}&{entry}" for each in patients for entry in entries]
    return keys


def _entries(row: Parameter, fields: Json) -> list[str]:
    """`name=spelling` of a row; of tokens those without a system.

    What names a patient has its backslashes and `&` escaped: other entries begin with it.
    """
    held = fields.get(row.name, ())
    if row.type is SearchType.TOKEN:
        held = [one for one in held if tokens.is_bare(one)]
    if row.type is not SearchType.REFERENCE:
        return [f"{row.name}={one}" for one in held]
    if row.narrower is not None:
        held = [one for one in held if references.type_of(one) != "Patient"]
    identified = [*fields.get(f"{row.name}:identifier", ()), *fields.get(f"{row.name}>identifier", ())]
    identified = [one for one in identified if tokens.bare(one)]
    if row.name == "patient":
        held, identified = (
            [one.replace("\\", r"\\").replace("&", r"\&") for one in each] for each in (held, identified)
        )
    return [*[f"{row.name}={one}" for one in held], *[f"{row.identifier_key}={one}" for one in identified]]


def _once(those: Any) -> list[Any]:
    return list(dict.fromkeys(those))


def _there(stored: Json) -> Json:
    """Without what is empty."""
    return {name: value for name, value in stored.items() if value}
