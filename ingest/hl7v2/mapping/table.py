"""Tables of a mapping: rows that name a field, an element, a type and a condition, compiled to one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ingest.hl7v2.mapping.context import AS_SENT, NULL, Context, Element, extension

if TYPE_CHECKING:
    from ingest.hl7v2.reader import Segment

Convert: TypeAlias = Callable[[Context, str], Any]
"""A value of FHIR from one repetition of a field as sent; None: there is none."""
Made: TypeAlias = Callable[[Context, str], Element | None]
"""Value that is an object, made by a row."""
Put: TypeAlias = Callable[[Context, str, Element], None]
"""Set an element of a resource from a field as sent."""


class Row(NamedTuple):
    """Row of a mapping."""

    field: str
    """`PID-3`; with a component where no other of the field is mapped: `OBR-26.1`."""
    element: str
    """FHIRPath of the element below the resource."""
    type: str
    """The types of both: `CX → Identifier`."""
    put: Put
    condition: str = ""
    """The condition under which the row holds, or a remark."""

    @property
    def number(self) -> int:
        """The field's number."""
        return int(self.field.partition("-")[2].partition(".")[0])


class Table:
    """The rows of one segment for one resource."""

    __slots__ = ("_steps", "resource", "rows", "segment")

    def __init__(self, segment: str, resource: str, rows: Sequence[Row]) -> None:
        self.segment = segment
        self.resource = resource
        self.rows = tuple(rows)
        self._steps: Final = tuple((row.number, row.put, row.element.partition(".")[0]) for row in rows)

    def apply(self, context: Context, segment: Segment, resource: Element) -> Element:
        """Fill a resource from a segment."""
        fields = segment.fields
        count = len(fields)
        context.segment = segment
        for number, put, element in self._steps:
            if number < count and (raw := fields[number]):
                if raw == NULL:
                    context.deleted.add(element)
                    continue
                context.field = number
                put(context, raw, resource)
        return resource


def one(element: str, convert: Convert) -> Put:
    """An element with one value: of several repetitions the first."""

    def put(context: Context, raw: str, resource: Element) -> None:
        if context.repetition in raw:
            raw = raw.partition(context.repetition)[0]
        value = convert(context, raw)
        if value is not None:
            resource[element] = value

    return put


def inside(parent: str, element: str, convert: Convert) -> Put:
    """Put that converts a field to an element inside another one, `parent.element`."""
    below = one(element, convert)

    def put(context: Context, raw: str, resource: Element) -> None:
        made: Element = {}
        below(context, raw, made)
        if made:
            resource.setdefault(parent, {}).update(made)

    return put


def many(element: str, convert: Convert, limit: int | None = None) -> Put:
    """An element with a list of values: a repetition each."""

    def put(context: Context, raw: str, resource: Element) -> None:
        for text in context.repetitions(raw)[:limit]:
            value = convert(context, text)
            if value is not None:
                found = resource.setdefault(element, [])
                if value not in found:
                    found.append(value)

    return put


def extended(url: str, kind: str, convert: Convert) -> Put:
    """An extension of the resource, a repetition each."""

    def put(context: Context, raw: str, resource: Element) -> None:
        for text in context.repetitions(raw):
            value = convert(context, text)
            if value is not None:
                resource.setdefault("extension", []).append(extension(url, kind, value))

    return put


def moment(element: str, convert: Convert) -> Put:
    """An element with a date or time; text that is none is kept as the element's extension."""

    def put(context: Context, raw: str, resource: Element) -> None:
        value = convert(context, raw)
        if value is not None:
            resource[element] = value
        elif text := context.first(raw):
            resource[f"_{element}"] = {"extension": [extension(AS_SENT, "String", text)]}

    return put


def coded(element: str, codes: dict[str, str]) -> Put:
    """An element with a code that a table translates; another one is kept as the element's extension."""

    def put(context: Context, raw: str, resource: Element) -> None:
        code = context.first(raw)
        value = codes.get(code.upper())
        if value is not None:
            resource[element] = value
        elif code:
            resource[f"_{element}"] = {"extension": [extension(AS_SENT, "String", code)]}

    return put


def text(context: Context, raw: str) -> str | None:
    """The text of a field's first component; None: it is empty."""
    return context.first(raw) or None


def whole_text(context: Context, raw: str) -> str | None:
    """The text of all components, with blanks between; None: all are empty."""
    parts = (context.plain(part).strip() for part in context.parts(raw))
    return " ".join(part for part in parts if part) or None


def flag(context: Context, raw: str) -> bool | None:
    """True or false by HL7 table 0136 (`Y`, `N`, also written out); None: another value, or none."""
    return {"Y": True, "YES": True, "1": True, "N": False, "NO": False, "0": False}.get(
        context.first(raw).upper()
    )
