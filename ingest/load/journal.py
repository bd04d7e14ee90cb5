"""Journal of the bodies that are stored: a load that was killed goes on from it.

One line is appended when a body is acknowledged as durable, so at a kill only what was under way is unknown
and pushed again, which changes nothing. A line holds no content: digests of the file's name, size and
moment, and of its member's name, which may be a patient's, a range of bytes, counts. A body with a refusal is
noted as a part: its counts are remembered, and it is pushed again.
"""

from __future__ import annotations

import errno
import fcntl
import hmac
import json
import os
import re
from bisect import bisect_right
from collections import Counter
from contextlib import ExitStack, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from ingest.load.journal_file import opened
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from ingest.load.files import Piece, Source


_DIGEST: Final = re.compile(r"[0-9a-f]{24}")


class Spans:
    """Ranges of bytes, merged where they meet."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add a range that overlaps none; one that is there already is ignored."""
        if self.holds(start):
            return
        at = bisect_right(self.starts, start)
        joins_next = at < len(self.starts) and self.starts[at] <= end
        if at and self.ends[at - 1] >= start:
            self.ends[at - 1] = self.ends[at] if joins_next else end
            if joins_next:
                del self.starts[at], self.ends[at]
        elif joins_next:
            self.starts[at] = start
        else:
            self.starts.insert(at, start)
            self.ends.insert(at, end)

    def holds(self, start: int) -> bool:
        """Whether a range covers this place."""
        at = bisect_right(self.starts, start)
        return at > 0 and start < self.ends[at - 1]


class Journal:
    """The journal of all loads into one database, open for one of them."""

    def __init__(self, file: int, path: Path, secret: bytes) -> None:
        self._file = file
        self._path = path
        self._secret = secret
        self._spans: dict[str, Spans] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._parts: dict[str, dict[tuple[str, int], tuple[int, Counter[str]]]] = {}
        """Bodies of a file by member and start: the end, and the outcomes of what is stored of it."""

    @classmethod
    def opened(cls, path: Path, *, secret: bytes) -> Self:
        """Read what is there. Raises StartupError when another load holds it, or it is not a journal.

        `secret` is the database's own, so that in another database nothing counts as stored.
        """
        file = opened(path, command="dod load")
        journal = cls(file, path, secret)
        try:
            journal._read()
        except BaseException:
            journal.close()
            raise
        return journal

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def name(self, source: Source, tenant: str) -> str:
        """Name of a file in the journal: another size, moment, tenant or database gives another one."""
        text = json.dumps([tenant, str(source.path), source.size, source.changed])
        return hmac.digest(self._secret, text.encode(), sha256)[:12].hex()

    def holds(self, name: str, piece: Piece) -> bool:
        """Whether this body is stored."""
        spans = self._spans.get(f"{name}:{self._member(piece.member)}")
        return spans is not None and spans.holds(piece.start)

    def before(self, name: str) -> Counter[str]:
        """Results of the resources of a file so far, parts included."""
        parts = self._parts.get(name, {}).values()
        return sum((counts for _, counts in parts), Counter(self._counts.get(name, Counter())))

    def part(self, name: str, piece: Piece) -> Counter[str]:
        """Counts, by outcome, of what earlier runs stored of a body that had a refusal."""
        _, counts = self._parts.get(name, {}).get(
            (self._member(piece.member), piece.start), (0, Counter[str]())
        )
        return counts

    def add(self, name: str, piece: Piece, counts: Counter[str], *, whole: bool = True) -> None:
        """A body is stored, or a part of it."""
        member = self._member(piece.member)
        self._append(_line(name, member, piece.start, piece.end, counts, whole=whole))
        self._take(name, member, piece.start, piece.end, counts, whole=whole)

    def _member(self, name: str) -> str:
        """Digest of the name of an archive's member; of a digest itself."""
        if not name or _DIGEST.fullmatch(name):
            return name
        return hmac.digest(self._secret, name.encode(errors="surrogateescape"), sha256)[:12].hex()

    def _append(self, line: bytes) -> None:
        """Write a line, or nothing of it. Raises StartupError."""
        try:
            written = os.write(self._file, line)
            if written < len(line):  # A full disk takes a part: the next line would go on in it.
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
        except OSError as error:
            raise self._unwritable(error) from None
        if written < len(line):
            raise self._unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _unwritable(self, error: OSError) -> StartupError:
        return StartupError(
            f"The journal {self._path} cannot be written: {error.strerror}."
            " What is noted in it stays; the same command goes on from there."
        )

    def forget(self, names: Container[str]) -> None:
        """Drop these files from the journal, to be loaded anew."""
        self._counts = {name: counts for name, counts in self._counts.items() if name not in names}
        self._parts = {name: parts for name, parts in self._parts.items() if name not in names}
        self._spans = {
            kept: spans for kept, spans in self._spans.items() if kept.partition(":")[0] not in names
        }
        self.compact()

    def compact(self) -> None:
        """Write it anew with ranges merged. Killed meanwhile, the old one stays. Raises StartupError."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            self._compact(fresh)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise self._unwritable(error) from None

    def _compact(self, fresh: Path) -> None:
        file = os.open(fresh, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        with ExitStack() as unless_done:
            unless_done.callback(os.close, file)
            self._write_all(file)
            fresh.replace(self._path)
            unless_done.pop_all()
        os.close(self._file)
        self._file = file

    def _write_all(self, file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
        counts = {name: dict(found) for name, found in self._counts.items()}
        with os.fdopen(os.dup(file), "wb") as out:
            for kept, spans in self._spans.items():
                name, _, member = kept.partition(":")
                for start, end in zip(spans.starts, spans.ends, strict=True):
                    out.write(_line(name, member, start, end, counts.pop(name, {})))
            for name, parts in self._parts.items():
                for (member, start), (end, found) in parts.items():
                    out.write(_line(name, member, start, end, found, whole=False))
        os.fsync(file)

    def _read(self) -> None:
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            number = 0
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # Torn by a kill: that body is pushed again.
                try:
                    name, member, start, end, counts, *part = json.loads(line)
                    self._take(name, self._member(member), int(start), int(end), counts, whole=not part)
                except (ValueError, TypeError, AttributeError):
                    raise StartupError(f"{self._path} is not a journal: line {number}.") from None
        if number:
            self.compact()

    def _take(  # noqa: PLR0913 (the fields of a line)
        self, name: str, member: str, start: int, end: int, counts: Mapping[str, int], *, whole: bool
    ) -> None:
        if not whole:
            self._parts.setdefault(name, {})[member, start] = end, Counter(counts)
            return
        self._parts.get(name, {}).pop((member, start), None)
        self._spans.setdefault(f"{name}:{member}", Spans()).add(start, max(end, start + 1))
        if counts:
            self._counts.setdefault(name, Counter()).update(counts)


def _line(  # noqa: PLR0913 (its fields)
    name: str, member: str, start: int, end: int, counts: Mapping[str, int], *, whole: bool = True
) -> bytes:
    fields = [name, member, start, end, counts, *([] if whole else ["part"])]
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
