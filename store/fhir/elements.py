"""The one walk through all elements of a resource: which break a rule, and what they say to people.

`ingest.pipeline.validation.structure` has the rules, `search.values.content` takes the texts; whoever wants
those alone gives no rules. https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableSequence

    from store.fhir.datatypes import Json, JsonObject

    Rule = Callable[[Json], str | None]
    """Check of a value: the rule that it breaks, or None."""
    Where = tuple[Any, str | int] | None
    """The place of an element as links to its parents, numbers in lists; spelled only when it is told."""

FAULTS_MAX: Final = 100
"""Faults told of one resource."""
DEPTH_MAX: Final = 100
"""Levels of elements. R4 has about ten."""
EMPTY_TEXT: Final = "must not be an empty string"
NULL: Final = "must not be null"
EMPTY: Final = "must not be empty"
"""An array or object has content or is left out."""
TOO_DEEP: Final = "is nested too deep"

_UNSAID: Final = frozenset(
    ("resourceType", "id", "meta", "data", "system", "reference", "url", "contentType", "language", "hash")
)
"""Elements that hold no text for people: machine names, addresses, encoded documents. Dates neither."""
_DATE: Final = re.compile(r"\d{4}-\d\d(?:-\d\d|$)")
_TAG: Final = re.compile(r"<[^<>]*>")
"""A tag. Up to the next `<`: else a narrative of these alone would be read from each of them to its end."""
_ENDLESS: Final = re.compile(r"&#[0-9]{8,}")
"""A character reference that names none; the library makes a number of it, of any length."""
_NAME: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


class Rules:
    """Rules for elements, whatever they stand in."""

    __slots__ = ("of_member", "of_narrative", "special")

    def __init__(
        self,
        of_value: Mapping[str, Rule],
        of_member: Mapping[str, Rule],
        of_narrative: Rule | None,
    ) -> None:
        """Rules by the name of an element, by that of the list whose members they are for, and for `text`.

        R4 gives these names to one datatype each.
        """
        self.special: Mapping[str, Rule | None] = {**dict.fromkeys(_UNSAID), "div": _any, **of_value}
        """The names that are not like all others; None: for machines and without a rule."""
        self.of_member: Mapping[str | int, Rule] = dict(of_member.items())
        self.of_narrative = of_narrative


def _any(_: Json) -> None:
    """The rule that everything fulfils."""


_NO_RULES: Final = Rules({}, {}, None)


class Fault(NamedTuple):
    """An element, as FHIRPath, and the rule that it breaks. No value is in it."""

    path: str
    rule: str


class Walked(NamedTuple):
    """Findings of a walk."""

    faults: tuple[Fault, ...]
    """Faults, at most `FAULTS_MAX`."""
    said: Sequence[str]
    """Texts for people, in order."""


class _Walk:
    """Walk through a resource."""

    __slots__ = ("found", "rules", "special")

    def __init__(self, rules: Rules, found: MutableSequence[tuple[Where, str]]) -> None:
        self.rules = rules
        self.special = rules.special
        self.found = found

    def tell(self, where: Where, rule: str) -> None:
        if len(self.found) < FAULTS_MAX:
            self.found.append((where, rule))

    def check(self, rule: Rule | None, value: Json, where: Where) -> None:
        broken = None if rule is None else rule(value)
        if broken is not None:
            self.tell(where, broken)


_UNHEARD: Final[MutableSequence[str]] = deque(maxlen=0)
"""Keeps nothing: where texts go that are not for people."""
_MUTE: Final = _Walk(_NO_RULES, deque(maxlen=0))
"""Tells nothing: R4 has neither lists in lists nor anything that deep."""


def walk(resource: JsonObject, rules: Rules = _NO_RULES, *, name: str = "") -> Walked:
    """Look at each element once; `name` is what the paths begin with."""
    on, said = _Walk(rules, []), list[str]()
    try:
        _elements((resource,), (None, name), 0, on, said)
    except RecursionError:  # Nobody can store this: the serialiser refuses a quarter of it.
        on.found.append(((None, name), TOO_DEEP))
    return Walked(tuple([Fault(spelled(where), rule) for where, rule in on.found]), said)


def _elements(  # noqa: C901, PLR0912 -- every element of every push comes by here: no calls but for what is in it
    members: Sequence[Json], where: tuple[Any, str | int], depth: int, on: _Walk, said: MutableSequence[str]
) -> None:
    """Walk an object, given as a tuple of its own, or the members of a list."""
    special, listed = on.special, isinstance(members, list)
    rule = on.rules.of_member.get(where[1]) if listed else None
    for number, element in enumerate(members):
        if not isinstance(element, dict):
            _say(element, (where, number), depth, said)
            continue
        at = (where, number) if listed else where
        if rule is not None:
            on.check(rule, element, at)
        if depth > DEPTH_MAX:
            on.tell(at, TOO_DEEP)
            _elements((element,), at, 0, _MUTE, said)
            continue
        if not element:
            on.tell(at, EMPTY)
        if "resourceType" in element and "text" in element:
            on.check(on.rules.of_narrative, element["text"], (at, "text"))
        for name, value in element.items():
            into = said
            if name in special:
                if special[name] is None and value and isinstance(value, str):
                    continue  # Nearly half of all elements.
                into = _special(name, value, at, on, said)
            if isinstance(value, str):
                if not value:
                    on.tell((at, name), EMPTY_TEXT)
                elif value[4:5] != "-" or not _DATE.match(value):
                    into.append(value)
            elif isinstance(value, dict):
                _elements((value,), (at, name), depth + 1, on, into)
            elif isinstance(value, list):
                if not value:
                    on.tell((at, name), EMPTY)
                _elements(value, (at, name), depth + 2, on, into)
            elif value is None:
                on.tell((at, name), NULL)


def _special(
    name: str, value: Json, where: Where, on: _Walk, said: MutableSequence[str]
) -> MutableSequence[str]:
    """Rules for this element; and the place where its texts go."""
    on.check(on.special[name], value, (where, name))
    if name == "div" and isinstance(value, str):
        said.append(plain(value))
        return _UNHEARD
    return _UNHEARD if name in _UNSAID else said


def _say(member: Json, where: tuple[Any, str | int], depth: int, said: MutableSequence[str]) -> None:
    if isinstance(member, list):
        _elements(member, where, depth + 1, _MUTE, said)
    elif isinstance(member, str) and (member[4:5] != "-" or not _DATE.match(member)):
        said.append(member)


def spelled(where: Where) -> str:
    """The place of an element as FHIRPath."""
    names = []
    while where is not None:
        where, name = where
        names.append(f"[{name}]" if isinstance(name, int) else f".{_told(name)}")
    return "".join(reversed(names))[1:]


def _told(name: str) -> str:
    """A name as it may be told: one that is none of FHIR's might be a value that slipped."""
    return name if _NAME.fullmatch(name) else "…"


def plain(div: str) -> str:
    """The text of an XHTML narrative."""
    return html.unescape(_ENDLESS.sub(" ", _TAG.sub(" ", div)))
