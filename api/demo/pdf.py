"""A PDF of one page with lines of text, for the made-up reports of the demo. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEADING: Final = 16
_FONTS: Final = b"/Font<</F1 5 0 R/F2 6 0 R>>"


def page(title: str, lines: Sequence[str]) -> bytes:
    """A4 with a title, a rule and lines of text in Helvetica; text is of Latin-1."""
    drawn = ["0.05 0.43 0.47 rg", "0 812 595 30 re f", "0 g", f"BT /F2 18 Tf 56 764 Td {_text(title)} Tj ET"]
    drawn += ["0.8 G", "56 750 m 539 750 l S"]
    for number, line in enumerate(lines):
        font = "F2" if line.startswith("*") else "F1"
        at = 724 - number * _LEADING
        drawn.append(f"BT /{font} 11 Tf 56 {at} Td {_text(line.removeprefix('*'))} Tj ET")
    content = "\n".join(drawn).encode("latin-1")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<<%s>>>>" % _FONTS,
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content),
        _font("Helvetica"),
        _font("Helvetica-Bold"),
    ]
    return _file(objects)


def _font(name: str) -> bytes:
    return f"<</Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding>>".encode()


def _text(line: str) -> str:
    escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"({escaped})"


def _file(objects: Sequence[bytes]) -> bytes:
    """The objects with the table that says where each begins."""
    made = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(made)
