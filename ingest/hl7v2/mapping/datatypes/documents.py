"""ED and RP in OBX → Attachment: base64, hexadecimal or plain; several segments of one document joined."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.hl7v2.faults import DATA_TYPE, REQUIRED
from ingest.hl7v2.mapping.context import codes, extension
from ingest.hl7v2.mapping.datatypes.concepts import concept
from ingest.hl7v2.mapping.datatypes.result_status import is_withdrawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Result
    from ingest.hl7v2.reader import Segment

CONTENT_TYPES: Final = codes(
    "PDF=application/pdf RTF=application/rtf HTML=text/html HTM=text/html XML=text/xml "
    "X-HL7-CDA-LEVEL-ONE=text/xml CDA=text/xml JPEG=image/jpeg JPG=image/jpeg PNG=image/png "
    "GIF=image/gif TIFF=image/tiff TIF=image/tiff BMP=image/bmp DICOM=application/dicom "
    "PLAIN=text/plain TXT=text/plain TEXT=text/plain FT=text/plain TX=text/plain ASCII=text/plain "
    "BASIC=audio/basic SGML=text/sgml DOC=application/msword JSON=application/json SVG=image/svg+xml "
    "MP4=video/mp4 DOCX=application/vnd.openxmlformats-officedocument.wordprocessingml.document"
)
"""Content types by ED.3, else ED.2: HL7 tables 0291 and 0191, and what senders write."""
_MAGIC: Final = (
    (b"%PDF", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"<?xml", "text/xml"),
    (b"<html", "text/html"),
    (b"<!DOCTYPE html", "text/html"),
)
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z]+/[A-Za-z0-9.+-]+")
_TOP_LEVEL: Final = frozenset("application audio image message multipart text video model font".split())
_UNKNOWN: Final = "application/octet-stream"
_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_NO_HEX: Final = "ED.5 is not hexadecimal, as ED.4 says"
_NO_BASE64: Final = "ED.5 is not Base64, as ED.4 says: it could never be read"
_SPACE: Final = re.compile(r"\s+")
_SIGNS: Final = "+/="
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
DATA_URL: Final = re.compile(r"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
"""Beginning of a `data:` URL, up to its data."""
_BREAKS: Final = re.compile(r"\.br|X(?:0[DAda])+")
_ENCODINGS: Final = {
    "BASE64": "base64",
    "BASE-64": "base64",
    "B64": "base64",
    "HEX": "hex",
    "HEXADECIMAL": "hex",
    "A": "plain",
    "NONE": "plain",
    "ASCII": "plain",
    "PLAIN": "plain",
    "UTF-8": "plain",
    "": "",
}

ROWS: Final = (
    ("OBX-3", "presentedForm.title", "the text of the code"),
    ("OBX-11", "", "`D`, `W`: the document is left out"),
    ("OBX-14", "presentedForm.creation", "a time of day is needed"),
    (
        "ED.2, .3",
        "presentedForm.contentType",
        "HL7 tables 0191 and 0291, a MIME type, else by the content itself",
    ),
    (
        "ED.4",
        "",
        "A (plain), Hex or Base64; without it Base64 where the data is that; what it is not has no data",
    ),
    (
        "ED.5",
        "presentedForm.data",
        "several OBX of one code and type in a row are one document, where the later do not begin as one",
    ),
    ("RP.1", "presentedForm.url", "an absolute URL; other pointers are `presentedForm.title`"),
)


class _Piece(NamedTuple):
    """ED value, taken apart."""

    key: tuple[str, ...]
    """Code and status, type, subtype and encoding: pieces of one document agree in them."""
    content_type: str
    encoding: str
    data: str


class Unread(NamedTuple):
    """A document that is not what ED.4 says, so that nobody could ever read it."""

    obx: Segment
    rule: str


class Documents(NamedTuple):
    """The documents of a report."""

    attachments: list[Element]
    rest: frozenset[int]
    """OBX, by their place in the message, that only go on with the document of one before."""
    unread: tuple[Unread, ...] = ()
    withdrawn: frozenset[str] = frozenset()
    """Titles of documents that were withdrawn."""

    def tell(self, context: Context, *, beside: bool) -> None:
        """Note documents that cannot be read: `beside` other content they are left out of it with a warning,
        alone they refuse the message, which would say nothing.
        """
        is_kept = beside and context.profile.unreadable_documents == "keep"
        for one in self.unread:
            context.segment, context.field = one.obx, 5
            rule = f"{one.rule}; the rest of the message is stored" if is_kept else one.rule
            context.fault(DATA_TYPE, rule, "W" if is_kept else "E", component=5)

    @property
    def has_content(self) -> bool:
        """Whether a document among them can be read."""
        return len(self.attachments) > len(self.unread)


def documents(context: Context, results: Sequence[Result]) -> Documents:
    """The documents of a report, in the order sent."""
    made: list[Element] = []
    unread: list[Unread] = []
    rest: set[int] = set()
    withdrawn: set[str] = set()
    pieces: list[_Piece] = []
    first: Result | None = None
    for result in results:
        fields = result.obx.fields
        kind = context.first(fields[2]).upper() if len(fields) > 5 else ""  # noqa: PLR2004 -- OBX-5
        context.segment, context.field = result.obx, 5
        is_gone = kind in ("RP", "ED") and is_withdrawn(context, fields)
        if is_gone:
            withdrawn.add(str(_about(context, result).get("title", "")))
        elif kind == "RP":
            sent = fields[5].split(context.repetition)
            made += [one for raw in sent if (one := _pointer(context, result, raw))]
        if kind != "ED":
            continue
        begins = False
        for raw in fields[5].split(context.repetition):
            piece = _piece(context, (fields[3], *fields[11:12]), raw)
            if piece is None:
                if not is_gone:
                    context.fault(REQUIRED, "the document has no data: ED.5", "W", component=5)
                continue
            if first is None or not _goes_on(pieces[0], piece):
                made += _whole(context, first, pieces, unread)
                first, pieces, begins = result, [], True
            pieces.append(piece)
        if not begins and pieces and first is not result:
            rest.add(result.obx.sequence)
    made += _whole(context, first, pieces, unread)
    return Documents(made, frozenset(rest), tuple(unread), frozenset(withdrawn))


def _piece(context: Context, about: tuple[str, ...], raw: str) -> _Piece | None:
    """The piece of a document that one repetition is; None: it has no data."""
    """A piece of a document; None: it has no data."""
    parts = context.parts(raw)
    if len(parts) == 1 and parts[0]:
        parts = ["", "", "", "", parts[0]]  # The data alone.
    parts += [""] * (5 - len(parts))
    # MSH-2 may have made a delimiter of a sign of Base64: all behind ED.4 is data.
    data = context.component.join(parts[4:])
    kind, subtype, encoding = (context.plain(part).strip() for part in parts[1:4])
    if _ENCODINGS.get(encoding.upper()) != "plain":
        data = DATA_URL.sub("", data, count=1)
        if context.component not in _SIGNS:  # Empty components behind the data.
            data = data.rstrip(context.component)
    if not data:
        return None
    return _Piece(
        (*about, kind, subtype, encoding),
        _content_type(kind, subtype),
        _ENCODINGS.get(encoding.upper(), ""),
        data,
    )


def _content_type(kind: str, subtype: str) -> str:
    if kind.lower() in _TOP_LEVEL and subtype and "/" not in subtype and subtype.upper() not in CONTENT_TYPES:
        return f"{kind.lower()}/{subtype.lower()}"
    for told in (subtype, kind):
        if _MEDIA_TYPE.fullmatch(told):
            return told.lower()
        if known := CONTENT_TYPES.get(told.upper()):
            return known
    return ""


def _goes_on(first: _Piece, piece: _Piece) -> bool:
    """Whether a piece is the rest of a document: of its kind, and not with the beginning of another."""
    if first.key != piece.key:
        return False
    if first.encoding == "plain" and first.content_type in ("text/plain", ""):
        return True
    begins = _sniffed(_head(first))
    return bool(begins) and not _sniffed(_head(piece))


def _head(piece: _Piece) -> bytes:
    bare = _SPACE.sub("", piece.data[:64])
    try:
        if piece.encoding == "hex":
            return bytes.fromhex(bare[:32])
        return piece.data[:32].encode() if piece.encoding == "plain" else b64decode(bare[:32])
    except ValueError:
        return b""


def _sniffed(head: bytes) -> str:
    return next((kind for mark, kind in _MAGIC if head.lstrip().startswith(mark)), "")


def _whole(
    context: Context, first: Result | None, pieces: Sequence[_Piece], unread: list[Unread]
) -> list[Element]:
    """The document that begins with an OBX; none where that was withdrawn."""
    if first is None or is_withdrawn(context, first.obx.fields):
        return []
    return [_joined(context, first, pieces, unread)]


def _joined(context: Context, first: Result, pieces: Sequence[_Piece], unread: list[Unread]) -> Element:
    try:
        encoded, head = _decoded(context, first, pieces)
    except ValueError as error:
        unread.append(Unread(first.obx, str(error)))
        # Whoever reads the report sees that there was a document.
        absent = {"extension": [extension(_ABSENT, "Code", "error")]}
        return {"contentType": pieces[0].content_type or _UNKNOWN, "_data": absent} | _about(context, first)
    made: Element = {"contentType": pieces[0].content_type or _sniffed(head) or _UNKNOWN, "data": encoded}
    return made | _about(context, first)


def _decoded(context: Context, first: Result, pieces: Sequence[_Piece]) -> tuple[str, bytes]:
    """The document as Base64, and its first bytes. Raises ValueError: it is not what ED.4 says."""
    context.segment, context.field = first.obx, 5
    encoding = pieces[0].encoding or (
        "base64" if all(_is_base64(_bare(context, one.data)) for one in pieces) else "plain"
    )
    if encoding == "plain":
        text = "\n".join(context.plain(one.data) for one in pieces).encode()
        return b64encode(text).decode(), text[:16]
    bare = [_bare(context, one.data) for one in pieces]
    if encoding == "hex":
        try:
            found = bytes.fromhex("".join(bare))
        except ValueError:
            raise ValueError(_NO_HEX) from None
        return b64encode(found).decode(), found[:16]
    if len(bare) == 1:
        joined = _padded(bare[0])
    elif any(one.endswith("=") for one in bare[:-1]):
        joined = _padded_pieces(bare)  # Each piece was encoded by itself.
    else:
        joined = _padded("".join(bare))
    if not joined or not _is_base64(joined):
        raise ValueError(_NO_BASE64)
    return joined, b64decode(joined[:32])


def _padded_pieces(pieces: Sequence[str]) -> str:
    try:
        return b64encode(b"".join(b64decode(_padded(one), validate=True) for one in pieces)).decode()
    except ValueError:
        return ""


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4) if len(text) % 4 != 1 else text


def _is_base64(text: str) -> bool:
    return len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


def _bare(context: Context, data: str) -> str:
    """Base64 or hexadecimal without line breaks, escaped ones among them."""
    mark = context.escape
    if mark and mark in data:
        data = "".join(
            piece for at, piece in enumerate(data.split(mark)) if at % 2 == 0 or not _BREAKS.fullmatch(piece)
        )
    return _SPACE.sub("", data) if not data.isalnum() else data


def _pointer(context: Context, result: Result, raw: str) -> Element | None:
    """An RP: pointer, application, type, subtype."""
    parts = [context.plain(part).strip() for part in context.parts(raw)]
    parts += [""] * (4 - len(parts))
    if not parts[0]:
        return None
    made: Element = {}
    if content_type := _content_type(parts[2], parts[3]):
        made["contentType"] = content_type
    if re.match(r"[a-z][a-z0-9+.-]*:\S+$", parts[0], re.IGNORECASE):
        return {**made, "url": parts[0], **_about(context, result)}
    return {**made, **_about(context, result), "title": parts[0]}


def _about(context: Context, result: Result) -> Element:
    fields = result.obx.fields
    made: Element = {}
    code = concept(context, fields[3]) if len(fields) > 3 and fields[3] else None  # noqa: PLR2004 -- OBX-3
    if code:
        codings = code.get("coding", ())
        title = code.get("text") or next((one["display"] for one in codings if "display" in one), "")
        if title:
            made["title"] = title
    if len(fields) > 14 and fields[14]:  # noqa: PLR2004 -- OBX-14
        context.segment, context.field = result.obx, 14
        when = context.times(fields[14])
        if when and "T" in when:
            made["creation"] = when
    return made
