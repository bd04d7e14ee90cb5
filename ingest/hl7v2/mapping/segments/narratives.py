"""Reports in lines: several OBX of text that are one result, and the whole as a document."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.context import NULL
from ingest.hl7v2.mapping.datatypes.result_status import is_withdrawn
from ingest.hl7v2.mapping.datatypes.values import is_text
from ingest.hl7v2.mapping.structure import Result
from ingest.hl7v2.reader import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.hl7v2.mapping.context import Context, Element

_LINES: Final = frozenset({"TX", "FT", "ST"})
_TITLE: Final = "report"
_TEXT: Final = 5


def joined(context: Context, results: Sequence[Result]) -> Iterator[Result]:
    """Results, each run of text lines of one code, sub-id, status and time made one."""
    held: Result | None = None
    lines: list[str] = []
    for result in results:
        if held is not None and _same(context, held, result):
            lines.append(_field(result.obx, 5))
            held.notes += result.notes
            held.others += result.others
            continue
        if held is not None:
            yield _whole(context, held, lines)
        held, lines = Result(result.obx, [*result.notes], [*result.others]), [_field(result.obx, 5)]
    if held is not None:
        yield _whole(context, held, lines)


def _same(context: Context, held: Result, result: Result) -> bool:
    one, other = held.obx.fields, result.obx.fields
    if len(one) <= _TEXT or len(other) <= _TEXT:
        return False
    kind = context.first(one[2]).upper()
    if kind not in _LINES or kind != context.first(other[2]).upper() or held.notes:
        return False
    # A line has no flag, unit or range of its own.
    return all(
        _field(held.obx, at) == _field(result.obx, at) for at in (3, 4, 6, 7, 8, 11, 14, 23)
    ) and is_text(kind)


def _whole(context: Context, held: Result, lines: list[str]) -> Result:
    if len(lines) == 1:
        return held
    fields = [*held.obx.fields]
    fields[_TEXT] = context.repetition.join(lines)
    return Result(Segment(held.obx.name, held.obx.sequence, fields), held.notes, held.others)


def narrative(
    context: Context, results: Sequence[Result], found: Sequence[Element], *, always: bool = False
) -> Element | None:
    """The text of a report that has nothing but text, as a document; None: it is none, or one line."""
    lines: list[str] = []
    for result in results:
        kind = context.first(_field(result.obx, 2)).upper()
        if kind in ("ED", "RP") or is_withdrawn(context, result.obx.fields):
            continue
        if kind not in _LINES:
            if not always:
                return None
            continue
        raw = _field(result.obx, _TEXT)
        lines += [context.plain(line) for line in raw.split(context.repetition) if line != NULL]
    text = "\n".join(lines).strip("\n")
    if not text.strip() or (not always and (len(lines) < 2 or not _is_prose(found))):  # noqa: PLR2004 -- a line is a result
        return None
    return {
        "contentType": "text/plain; charset=utf-8",
        "data": b64encode(text.encode()).decode(),
        "title": _TITLE,
    }


def _is_prose(found: Sequence[Element]) -> bool:
    """Whether some result is of several lines: a list of short texts is no narrative."""
    return any("\n" in str(one.get("valueString", "")) for one in found)


def _field(segment: Segment, number: int) -> str:
    return segment.fields[number] if len(segment.fields) > number else ""
