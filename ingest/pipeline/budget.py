"""The budget of a body: how many JSON values it may have, counted before it is parsed.

Pure. A body of 40 MB can have twenty million values. Each is an object of some hundred bytes once it is
parsed, and a look by everything that prepares it, so bytes alone bound neither memory nor time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from store.fhir.datatypes import JsonObject

PIECE_BYTES: Final = 262_144
"""Bytes looked at together: an early end costs no look at the rest."""
LIGHT_BYTES: Final = 65_536
"""Longest body that is prepared on the event loop: a tenth of a second, where it is all delimiters."""
LIGHT_BYTES_FOLDED: Final = LIGHT_BYTES // 4
"""Longest such body with letters beyond ASCII: one of them may be folded into eighteen."""
LIGHT_ELEMENTS: Final = 4_000
"""Most values of such a body; some ten milliseconds."""
_COUNTED: Final = b",[{"
"""Each value but the outermost follows one of these."""
_SIGNS: Final = (b",", b"[", b"{")
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'",[{'))
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
ENTRIES_MAX: Final = 20_000
"""Most index entries of one resource, where the settings say nothing."""
HEAVY_BYTES: Final = 32_000_000
"""Memory, about, past which few bodies are under way at once."""
ELEMENT_BYTES: Final = 150
"""Memory of one value, about."""


class Weight(NamedTuple):
    """Estimated cost of a body."""

    size: int
    elements: int
    """Number of elements, or more."""
    is_ascii: bool = True

    @property
    def is_light(self) -> bool:
        """Whether it may be parsed and prepared on the event loop."""
        longest = LIGHT_BYTES if self.is_ascii else LIGHT_BYTES_FOLDED
        return self.size <= longest and self.elements <= LIGHT_ELEMENTS

    @property
    def is_heavy(self) -> bool:
        """Whether its memory is so large that it has to wait for others."""
        return self.size + ELEMENT_BYTES * self.elements > HEAVY_BYTES


def weigh(body: bytes | bytearray, most: int) -> Weight:
    """The weight of a body, counted no further than `most` values."""
    size = len(body)
    if size <= LIGHT_ELEMENTS:  # A value and what separates it have at least two bytes.
        return Weight(size, size // 2 + 1)
    elements = 1
    view = memoryview(body)
    for at in range(0, size, PIECE_BYTES):
        piece = bytes(view[at : at + PIECE_BYTES])
        if any(sign in piece for sign in _SIGNS):  # Else a part of a document: ten times as fast as counting.
            elements += len(piece) - len(piece.translate(None, _COUNTED))
        if elements > most:  # So it seems, if none of them stood in texts.
            return Weight(size, _exactly(view, most), is_ascii=False)
    return Weight(size, elements, size > LIGHT_BYTES or body.isascii())


def _exactly(view: memoryview, most: int) -> int:
    """Number of values, whatever stands in texts; counted no further than `most`."""
    elements, inside, carried = 1, False, b""
    for at in range(0, len(view), PIECE_BYTES):
        piece = carried + bytes(view[at : at + PIECE_BYTES])
        carried = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        if carried:
            piece = piece[:-1]
        if b"\\" in piece:
            piece = _ESCAPED.sub(b"", piece)
        parts = piece.translate(None, _NOT_STRUCTURE).split(b'"')
        elements += sum(map(len, parts[inside::2]))
        inside ^= len(parts) % 2 == 0
        if elements > most:
            break
    return elements


def check_body(weight: Weight, most: int) -> None:
    """Raise ServiceError `too-large` for more values than any body may have."""
    if weight.elements > most:
        raise _too_costly(f"the body may have at most {most} elements")


def check_resources(resource: JsonObject, weight: Weight, most: int) -> None:
    """Raise ServiceError `too-large` for more values than a resource, or one in a Bundle, may have."""
    if weight.elements <= most:
        return
    entries = resource.get("entry") if resource.get("resourceType") == "Bundle" else None
    if not isinstance(entries, list):
        if not _is_over(resource, most):  # Commas in texts were counted too.
            return
        raise _too_costly(f"a resource may have at most {most} elements")
    for number, entry in enumerate(entries):
        if _is_over(entry, most):
            where = f"Bundle.entry[{number}]"
            raise _too_costly(f"`{where}` may have at most {most} elements", where)


def too_many_entries(resource_type: str, most: int) -> ServiceError:
    """The refusal of a resource with more index entries than there may be."""
    text = f"a resource may have at most {most} values that are searched for: identifiers, references …"
    return _too_costly(text, resource_type)


def elements_in(value: object, most: int) -> int:
    """Number of values within a value, counted not much further than `most`."""
    left, count = [value], 0
    while left and count <= most:
        one = left.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(inner)
        left += [item for item in inner if isinstance(item, dict | list)]
    return count


def _is_over(value: object, most: int) -> bool:
    return elements_in(value, most) > most


def _too_costly(text: str, *where: str) -> ServiceError:
    return ServiceError(Category.TOO_LARGE, Issue("too-costly", text, where))
