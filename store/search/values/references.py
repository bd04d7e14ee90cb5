"""Reference search. https://hl7.org/fhir/R4/search.html#reference

`Type/id`, an absolute URL, and a bare id all come down to the one spelling that is stored. A reference
that carries an identifier, or leads to a contained resource that has one, is found through it as well
(`DECISIONS.md#patient-identifier`): the referenced resource may never arrive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from store.fhir.datatypes import object_of, objects_of, text_of
from store.fhir.references import ID, RELATIVE, Conditional, parse_conditional
from store.fhir.references import parse as parse_reference
from store.fhir.resource_types import RESOURCE_TYPES
from store.near import near
from store.search.values.escapes import escape, split, unescape
from store.search.values.tokens import spellings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.search.parameters import Parameter


class Referred(NamedTuple):
    """Spellings by which a Reference is found."""

    targets: tuple[str, ...] = ()
    """Spellings of the reference itself; two with a version (`DECISIONS.md#versioned-references`)."""
    logical: tuple[str, ...] = ()
    """Token spellings of `Reference.identifier`: what `:identifier` asks for."""
    contained: tuple[str, ...] = ()
    """Token spellings of the contained resource's identifiers."""
    type: str | None = None
    """Type of the target, as far as the reference tells."""
    unspelled: bool = False
    """Whether it says something, but nothing it could be found by: only `:missing` must know of it."""


def parse(text: str, parameter: Parameter, *, base: str | None, only: str | None = None) -> list[str]:
    """Alternative of a query, as the spellings to look for. Raises ValueError with the rule."""
    text = unescape(text)
    if only is None and ID.fullmatch(text):
        typed = [f"{target}/{text}" for target in parameter.targets]
        # Some senders write an id alone where R4 has `Type/id`: it is found as it stands.
        return typed if len(typed) == 1 else [*typed, text]
    target = parse_reference(text, base=base)
    if only is not None:
        if ID.fullmatch(text):
            return [f"{only}/{text}"]
        if target.type != only:
            message = "the value names another type than the modifier"
            raise ValueError(message)
    # HAPI's client names a resource by the URL of the version that a write answered with.
    is_location = base is not None and text.startswith(f"{base}/")
    if target.version is None or is_location:
        return [target.spelling]
    return [f"{target.spelling}/_history/{target.version}"]


_NEARLY: Final = re.compile(r"\s*/?([A-Za-z]+)/([^\s/]+(?:/_history/[^\s/]+)?)/?\s*")
"""A relative reference, or what is nearly one."""
_SPELLED: Final = {name.casefold(): name for name in RESOURCE_TYPES}


def refuse_a_token(text: str) -> None:
    """Raise ValueError for `system|value`: no reference is written so, and it would find nothing."""
    if "|" in (text := unescape(text)) and "?" not in text:
        message = "a reference is `Type/id`, an id or a URL; `system|value` is asked for by `.identifier`"
        raise ValueError(message)


def doubt(spelling: str) -> str | None:
    """Doubt about a spelling that is nearly `Type/id`; None: there is none.

    `DECISIONS.md#nearly-a-reference`
    """
    found = _NEARLY.fullmatch(spelling)
    if found is None or (found[1] in RESOURCE_TYPES and spelling == f"{found[1]}/{found[2]}"):
        return None
    known = _SPELLED.get(found[1].casefold())
    hint = near(found[1], RESOURCE_TYPES) if known is None else f" (did you mean `{known}/…`?)"
    return f"a reference is `Type/id` with a resource type of R4, an id, or a URL: this finds none{hint}"


def type_of(spelling: str) -> str | None:
    """Type that a spelling of a query names; None: it tells no type."""
    return parse_reference(spelling).type


def index(
    value: Json, path: str, *, contained: Mapping[str, JsonObject], base: str | None, owner: str | None = None
) -> Referred:
    """Stored form of a Reference; `owner` is the `Type/id` of the resource that it stands in."""
    element = object_of(value, path)
    text = text_of(element, "reference", path)
    named = text_of(element, "type", path)
    logical = _identifiers(element, "identifier", path) if "identifier" in element else ()
    if text is None:
        return Referred(logical=logical, type=named, unspelled=not logical and bool(element.keys() - _SILENT))
    if text.startswith("#"):
        inner = contained.get(text[1:])
        if inner is None:
            return Referred(logical=logical, type=named, unspelled=not logical)
        inner_type = text_of(inner, "resourceType", "contained") or named
        spelled = [] if owner is None else [within(owner, text[1:])]
        carried = _identifiers(inner, "identifier", "contained")
        unspelled = not (spelled or logical or carried)
        return Referred(tuple(spelled), logical, carried, inner_type, unspelled=unspelled)
    target = parse_reference(text, base=base)
    spelled = [target.spelling]
    if target.type is None and "?" in text:
        asked = parse_conditional(text, base=base)
        if asked is not None:
            return Referred((text,), logical, _asked_for(asked), asked.type)
    if target.version is not None:
        spelled.append(f"{target.spelling}/_history/{target.version}")
    return Referred(tuple(spelled), logical, (), target.type or named)


def _asked_for(asked: Conditional) -> tuple[str, ...]:
    found = asked_identifier(asked)
    if found is None:
        return ()
    # Without a system it means any: it is found by the value alone.
    system, value = found
    return (escape(value),) if system is None else tuple(spellings(system, value, folded=False))


def asked_identifier(asked: Conditional) -> tuple[str | None, str] | None:
    """System and value of the identifier that a conditional reference names; None: it names none."""
    pairs = parse_qsl(asked.criteria)
    if len(pairs) != 1 or pairs[0][0] != "identifier":
        return None
    try:
        [alternative] = split(pairs[0][1], ",")
        *system, value = [unescape(part) for part in split(alternative, "|")]
    except ValueError:
        return None
    return (system[0] if system else None, value) if len(system) < 2 and value else None  # noqa: PLR2004


def plain(values: Sequence[Any]) -> list[str] | None:
    """The spellings of references that are all of the common form; None when one is not.

    That is `{"reference": "Type/id"}` with at most a display: `index` would find nothing else of it, in twice
    the time.
    """
    spelled: list[str] = []
    try:
        for value in values:
            text = value["reference"]
            if not value.keys() <= _PLAIN or RELATIVE.fullmatch(text) is None:
                return None
            spelled.append(text)
    except (KeyError, TypeError):  # Not an object, or without such a text.
        return None
    return spelled


def within(owner: str, contained_id: str) -> str:
    """The spelling of a contained resource, which no other resource can refer to: what a chain leads to."""
    return f"{owner}#{contained_id}"


_PLAIN: Final = frozenset({"reference", "display"})
_SILENT: Final = frozenset({"id", "extension", "_display"})
"""R4: an element that holds only an extension counts as missing."""


def narrowed(referred: Referred, only: str) -> Referred:
    """`resolve() is Patient`, decided without the target: by type segment, `Reference.type`, contained.

    An identifier beside a reference that tells no type may well be a patient's; the reference would say so.
    """
    if referred.type == only:
        return referred
    return Referred(logical=referred.logical) if referred.type is None else Referred()


def _identifiers(element: JsonObject, name: str, path: str) -> tuple[str, ...]:
    found: list[str] = []
    for identifier in objects_of(element, name, path):
        at = f"{path}.{name}"
        found += spellings(text_of(identifier, "system", at), text_of(identifier, "value", at), folded=False)
    return tuple(found)


def contained_in(resource: JsonObject) -> dict[str, JsonObject]:
    """The contained resources by id. Raises Malformed."""
    found = {}
    for inner in objects_of(resource, "contained", ""):
        inner_id = text_of(inner, "id", "contained")
        if inner_id is not None:
            found[inner_id.removeprefix("#")] = inner
    return found
