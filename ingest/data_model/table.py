"""Tables of the mapping: rows that name a path of the Data Model and an element of FHIR, for both directions.

What an element cannot hold as it was sent stands beside it, in an extension; it is believed as long as the
element still is what it was made of.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ingest.data_model.codecs import TEXT, Codec
from ingest.data_model.places import Element, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ingest.data_model.places import Place

Told: TypeAlias = dict[str, Any]
"""An object of the Data Model: texts, objects and lists."""
URN: Final = "urn:dod:data-model:"
"""Prefix of systems and extensions that nobody else has defined."""


class Row(NamedTuple):
    """Row of the mapping."""

    path: str
    """Path in the object of the Data Model; `[]` at its end: each value of a list."""
    element: str
    """Place in the resource."""
    codec: Codec = TEXT
    note: str = ""


class _Step(NamedTuple):
    """A row, compiled."""

    path: tuple[str, ...]
    many: bool
    element: Place
    codec: Codec
    sent: Place
    """The extension with the text as it was sent."""


class Table:
    """The rows between one object of the Data Model and one element of FHIR."""

    __slots__ = ("element", "name", "rows", "steps")

    def __init__(self, name: str, element: str, *rows: Row) -> None:
        self.name = name
        self.element = element
        self.rows = rows
        self.steps: Final = tuple(_compiled(row) for row in rows)

    def write(
        self,
        told: Mapping[str, Any],
        element: Element,
        tell: Callable[[str], None] = lambda _: None,
        **codecs: Codec,
    ) -> Element:
        """Fill an element with what an object says; `codecs` by path take the place of those of rows.

        `tell` hears the path of what the element has no value for, which is kept as it was sent.
        """
        for step in self.steps:
            value = at(told, step.path)
            if value is None:
                continue
            codec = codecs.get(step.path[-1], step.codec)
            if step.many:
                for one in value:
                    if (made := codec.to_fhir(one)) is not None:
                        step.element.put(element, made)
                continue
            made = codec.to_fhir(value)
            if made is None or not codec.knows(value):
                tell(".".join(step.path))
            if made is not None:
                step.element.put(element, made)
            if made is None or codec.to_model(made) != value:
                step.sent.put(element, value)
        return element

    def read(self, element: Element) -> Told:
        """An element as an object of the Data Model."""
        told: Told = {}
        for step in self.steps:
            if step.many:
                found = [step.codec.to_model(one) for one in step.element.get_all(element)]
                put(told, step.path, [one for one in found if one is not None])
                continue
            held, sent = step.element.get(element), step.sent.get(element)
            shown = None if held is None else step.codec.to_model(held)
            made = step.codec.to_fhir(sent) if isinstance(sent, str) else None
            # Of a word that FHIR has not, the element says at most that it is unknown.
            believed = isinstance(sent, str) and (made == held or (made is None and shown is None))
            put(told, step.path, sent if believed else shown)
        return told


def _compiled(row: Row) -> _Step:
    path = row.path.removesuffix("[]")
    sent = place(f"extension[url={URN}{path}].valueString")
    return _Step(tuple(path.split(".")), row.path.endswith("[]"), place(row.element), row.codec, sent)


def at(told: Mapping[str, Any], path: Sequence[str]) -> Any:  # noqa: ANN401 -- JSON
    """The value at a path; None: there is none."""
    here: Any = told
    for name in path:
        here = here.get(name) if isinstance(here, dict) else None
        if here is None:
            return None
    return here


def put(told: Told, path: Sequence[str], value: Any) -> None:  # noqa: ANN401 -- JSON
    """Set the value at a path."""
    for name in path[:-1]:
        told = told.setdefault(name, {})
    told[path[-1]] = value


def is_empty(told: Any) -> bool:  # noqa: ANN401 -- JSON
    """Whether an object says nothing."""
    if isinstance(told, dict):
        return all(is_empty(one) for one in told.values())
    return told is None or told == []


def under(prefix: str, rows: Sequence[Row], element: str = "") -> tuple[Row, ...]:
    """The same rows below a path, and below an element."""
    rename: Callable[[str], str] = partial("{}.{}".format, element) if element else str
    return tuple(
        row._replace(path=f"{prefix}.{row.path}".removeprefix("."), element=rename(row.element))
        for row in rows
    )
