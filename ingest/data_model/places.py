"""Places in FHIR resources, as the mapping tables write them: read and written by the same path. Pure.

`name[0].given[1]` by position, `telecom[system=phone,use=home].value` by what an element says,
`note[*].text` for each element. `kind=MR` is the code of an identifier's type.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from ingest.hl7v2.mapping.systems import V2

Element: TypeAlias = dict[str, Any]
"""A FHIR element or resource that is being made or read."""
_STEP: Final = re.compile(r"([A-Za-z]+)(?:\[([^\]]*)\])?(?:\.|$)")
KINDS: Final = f"{V2}0203"
"""System of the types of identifiers."""


class Step(NamedTuple):
    """Name in a path, and which of its elements are meant."""

    name: str
    at: int | None = None
    wanted: tuple[tuple[str, str], ...] = ()
    many: bool = False
    """Whether each element is meant, and a new one is made for each value."""

    @property
    def is_list(self) -> bool:
        """Whether the element repeats."""
        return self.at is not None or self.many or bool(self.wanted)

    def fits(self, element: object) -> bool:
        """Whether an element of the list is meant."""
        return isinstance(element, dict) and all(_says(element, name, value) for name, value in self.wanted)

    def new(self) -> Element:
        """A new element that fits the step."""
        made: Element = {}
        for name, value in self.wanted:
            made |= (
                {"type": {"coding": [{"system": KINDS, "code": value}]}} if name == "kind" else {name: value}
            )
        return made


def kind_of(identifier: Element) -> str:
    """The code of an identifier's type; empty: it has none."""
    kind = identifier.get("type")
    codings = kind.get("coding") if isinstance(kind, dict) else None
    first = codings[0] if isinstance(codings, list) and codings else None
    code = first.get("code") if isinstance(first, dict) else None
    return code if isinstance(code, str) else ""


def _says(element: Element, name: str, value: str) -> bool:
    return bool((kind_of(element) if name == "kind" else element.get(name)) == value)


class Place:
    """A path, taken apart."""

    __slots__ = ("steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: Final = tuple(_step(name, inside) for name, inside in _STEP.findall(text))

    def get(self, element: Any) -> Any:  # noqa: ANN401 -- JSON
        """The value there; None: there is none."""
        return next(iter(self.get_all(element)), None)

    def get_all(self, element: Any) -> list[Any]:  # noqa: ANN401 -- JSON
        """All values there, in order."""
        found = [element]
        for step in self.steps:
            found = [
                below
                for one in found
                if isinstance(one, dict) and step.name in one
                for below in _below(step, one[step.name])
            ]
        return found

    def put(self, element: Element, value: object) -> None:
        """Set the value there, with all elements that lead there."""
        here: Any = element
        *leading, last = self.steps
        for step in leading:
            here = _entered(step, here)
        if not last.is_list:
            here[last.name] = value
            return
        there = here.setdefault(last.name, [])
        if last.at is None or last.at >= len(there):
            there.append(value)
        else:
            there[last.at] = value


def _step(name: str, inside: str) -> Step:
    if not inside:
        return Step(name)
    if inside.isdecimal():
        return Step(name, at=int(inside))
    parts = inside.split(",")
    wanted = tuple((key, value) for key, _, value in (part.partition("=") for part in parts if part != "*"))
    return Step(name, wanted=wanted, many="*" in parts)


def _below(step: Step, value: Any) -> list[Any]:  # noqa: ANN401 -- JSON
    if not step.is_list:
        return [value]
    several = value if isinstance(value, list) else [value]
    if step.at is not None:
        return several[step.at : step.at + 1]
    return [one for one in several if not step.wanted or step.fits(one)]


def _entered(step: Step, here: Element) -> Element:
    """The element that a step leads to, made where it is missing."""
    if not step.is_list:
        found: Element = here.setdefault(step.name, {})
        return found
    there: list[Element] = here.setdefault(step.name, [])
    if step.at is not None:
        while len(there) <= step.at:
            there.append({})
        return there[step.at]
    known = None if step.many else next((one for one in there if step.fits(one)), None)
    if known is None:
        known = step.new()
        there.append(known)
    return known


@lru_cache(maxsize=1_024)
def place(text: str) -> Place:
    """A path, taken apart once."""
    return Place(text)
