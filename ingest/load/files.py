"""Files taken apart into bodies: JSON whole, NDJSON by line, HL7 v2 by message; folders in order.

Files in .gz and .zip are streamed.

At no time is more in memory than one body; what an archive expands to is bounded.
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections import Counter
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from ingest.load.message_chunks import Chunk, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class FileKind(StrEnum):
    """Kind of a file, by its name."""

    JSON = "json"
    NDJSON = "ndjson"
    GZIP = "gz"
    ZIP = "zip"
    HL7V2 = "hl7"


_SUFFIXES: Final[Mapping[str, FileKind]] = {
    ".json": FileKind.JSON,
    ".ndjson": FileKind.NDJSON,
    ".jsonl": FileKind.NDJSON,
    ".gz": FileKind.GZIP,
    ".zip": FileKind.ZIP,
    ".hl7": FileKind.HL7V2,
}
MANIFEST: Final = "manifest.json"
"""The list of the files of an export, beside them: no resource."""
_UNREADABLE: Final = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    RuntimeError,  # Of zipfile: the member is encrypted.
    NotImplementedError,  # Of zipfile: a compression that Python does not know.
)


class Source(NamedTuple):
    """A file as it was found. Another size or moment makes it another file."""

    path: Path
    kind: FileKind
    size: int
    changed: int
    """Change of the file, in nanoseconds."""


class Place(NamedTuple):
    """The place of a body, or of one entry of it."""

    file: str
    member: str = ""
    """Name within an archive; else empty."""
    line: int = 0
    """Number from 1 in NDJSON; 0: the whole file."""
    entry: int | None = None
    """Number from 0 in a Bundle; None: the whole body."""

    @override
    def __str__(self) -> str:
        numbers = [
            f"line {self.line}" if self.line else "",
            "" if self.entry is None else f"entry {self.entry}",
        ]
        return ": ".join(part for part in (self.file, self.member, *numbers) if part)


class Piece(NamedTuple):
    """Body of a source, or the reason why there is none."""

    source: Source
    member: str
    """Name of the member of an archive; else empty."""
    line: int
    """Line from 1 in NDJSON; 0: the whole file."""
    start: int
    """Offset in the expanded bytes of its member; `end` is where the next one starts."""
    end: int
    read: int
    """Offset in the source's own bytes."""
    body: bytes | None = None
    fault: str = ""

    @property
    def place(self) -> Place:
        """The place of this body."""
        return Place(str(self.source.path), self.member, self.line)


class Bounds(NamedTuple):
    """Bounds on what of a file may be in memory, or come out of it."""

    body_bytes: int
    expanded_bytes: int


def sources(paths: Iterable[Path], *, skipped: Callable[[Path], None]) -> Iterator[Source]:
    """The files at these paths: those named as they are, those in folders by their suffix, in order.

    Raises OSError for a path that is not there, and for a folder that cannot be read.
    """
    for path in paths:
        if not path.is_dir():
            yield _source(path, _SUFFIXES.get(path.suffix.lower(), FileKind.JSON))
            continue
        for found in _under(path):
            hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
            if hidden or not found.is_file():
                continue
            kind = _SUFFIXES.get(found.suffix.lower())
            if kind is None or found.name == MANIFEST:
                skipped(found)
            else:
                yield _source(found, kind)


def _under(folder: Path) -> list[Path]:
    """Paths of all files below a folder, in order. Raises OSError where one cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    return sorted(Path(top, name) for top, _, names in os.walk(folder, onerror=fail) for name in names)


def _source(path: Path, kind: FileKind) -> Source:
    found = path.stat()
    return Source(path.absolute(), kind, found.st_size, found.st_mtime_ns)


def pieces(source: Source, bounds: Bounds) -> Iterator[Piece]:
    """The bodies of a source, in order. What cannot be read is a piece with a fault, and ends its member."""
    try:
        with source.path.open("rb") as raw:
            match source.kind:
                case FileKind.ZIP:
                    yield from _archive(source, raw, bounds)
                case FileKind.GZIP:
                    with gzip.GzipFile(fileobj=raw) as stream:
                        part = _Part(source, "", raw.tell, _Expanded(bounds))
                        yield from part.pieces(stream, _inner_kind(source.path.name))
                case kind:
                    yield from _Part(source, "", raw.tell, _Expanded(bounds)).pieces(raw, kind)
    except _UNREADABLE as error:
        yield _fault(source, "", f"cannot be read: {_reason(error)}", source.size)


def _archive(source: Source, raw: IO[bytes], bounds: Bounds) -> Iterator[Piece]:
    """The members of a zip, in the order in which they lie there."""
    expanded, passed, names = _Expanded(bounds), 0, Counter[str]()
    with zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            names[member.filename] += 1
            number = names[member.filename]
            named = member.filename if number == 1 else f"{member.filename} ({number})"
            before, passed = passed, passed + member.compress_size
            if member.is_dir() or Path(member.filename).name.startswith("."):
                continue
            kind = _SUFFIXES.get(Path(member.filename).suffix.lower())
            part = _Part(source, named, partial(int, before), expanded)
            if kind is None or kind is FileKind.ZIP:
                text = (
                    "is not JSON, NDJSON, .hl7 or .gz by its name"
                    if kind is None
                    else "is a zip within a zip"
                )
                yield _fault(source, named, text, before)
                continue
            try:
                with archive.open(member) as stream:
                    if kind is FileKind.GZIP:
                        with gzip.GzipFile(fileobj=stream) as inner:
                            yield from part.pieces(inner, _inner_kind(member.filename))
                    else:
                        yield from part.pieces(stream, kind)
            except _UNREADABLE as error:
                yield _fault(source, named, f"cannot be read: {_reason(error)}", before)
            if expanded.over:
                return


def _inner_kind(name: str) -> FileKind | None:
    """Kind of what is inside `….gz`; None when its name does not say."""
    return _SUFFIXES.get(Path(name.lower().removesuffix(".gz")).suffix)


class _Expanded:
    """Bytes that came out of one source so far."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = 0

    @property
    def over(self) -> bool:
        return self.bytes > self.bounds.expanded_bytes


class _Part(NamedTuple):
    """File, or member of an archive."""

    source: Source
    member: str
    tell: Callable[[], int]
    expanded: _Expanded

    def pieces(self, stream: IO[bytes] | gzip.GzipFile, kind: FileKind | None) -> Iterator[Piece]:
        largest, line, start = self.expanded.bounds.body_bytes, 0, 0
        if kind is FileKind.JSON:
            yield self._piece(0, 0, stream.read(largest + 1))
            return
        if kind is FileKind.HL7V2:
            yield from map(self._message, chunks(stream, largest))
            return
        while text := stream.readline(largest + 1):
            if kind is None:
                kind = FileKind.NDJSON
                if not text.rstrip().endswith(b"}"):  # An object that goes on in the next line.
                    yield self._piece(0, 0, text + stream.read(max(largest + 1 - len(text), 0)))
                    return
            line += 1
            piece = self._piece(line, start, text)
            while len(text) > largest and not text.endswith(b"\n"):  # The rest of a line too long.
                text = stream.readline(largest + 1)
                self.expanded.bytes += len(text)
                piece = piece._replace(end=piece.end + len(text))
                if not text or self.expanded.over:
                    break
            start = piece.end
            if piece.fault or (piece.body and not piece.body.isspace()):
                yield piece
            if self.expanded.over:
                return

    def _message(self, chunk: Chunk) -> Piece:
        piece = self._piece(chunk.line, chunk.start, chunk.body)._replace(end=chunk.end)
        return piece if chunk.is_whole else piece._replace(body=None, fault=self._too_large())

    def _too_large(self) -> str:
        return f"is larger than the {self.expanded.bounds.body_bytes:,} bytes that a body may have"

    def _piece(self, line: int, start: int, body: bytes) -> Piece:
        self.expanded.bytes += len(body)
        bounds, end = self.expanded.bounds, start + len(body)
        fault = ""
        if len(body) > bounds.body_bytes:
            fault = self._too_large()
        elif self.expanded.over:
            fault = f"expands to more than {bounds.expanded_bytes:,} bytes (`DOD_LOAD_EXPANDED_BYTES_MAX`)"
        kept = None if fault else body
        return Piece(self.source, self.member, line, start, end, self.tell(), kept, fault)


def _fault(source: Source, member: str, text: str, read: int) -> Piece:
    return Piece(source, member, 0, 0, 0, read, None, text)


def _reason(error: Exception) -> str:
    """Reason of an error, without the file's own words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
        return "it is encrypted"
    return "it is damaged, or no such archive"
