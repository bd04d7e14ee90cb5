"""Journal of a remapping: one that was stopped or killed goes on from it.

Its first line names what is mapped, by which profiles and by which release, as a digest; each further line is
a message that is done, and the reports that it speaks for. It holds ids of the service's own, and no content.
"""

from __future__ import annotations

import hmac
import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from api.version import VERSION
from ingest.load.journal_file import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ingest.feeds.sources import Source
    from store.tenancy import Tenant


def digest_of(secret: bytes, tenant: Tenant, source: str | None, profiles: Sequence[Source]) -> str:
    """Digest of what is remapped. `secret` is the database's own: in another one nothing counts as done."""
    told = [[one.name, one.profile.model_dump_json()] for one in profiles]
    text = json.dumps([VERSION, str(tenant), source, told])
    return hmac.digest(secret, text.encode(), sha256).hex()


class RemapJournal:
    """Journal of a remap that was broken off: messages that are done, and the reports that they spoke for."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path
        self.done: set[str] = set()
        """Ids of the messages."""
        self.reports: set[str] = set()
        """`Type/id` of what they made: older messages about these are past."""

    @classmethod
    def opened(cls, path: Path, digest: str, *, fresh: bool) -> Self:
        """Go on where the same remapping stopped, else begin. Raises StartupError while another has it."""
        file = opened(path, command="dod remap")
        journal = cls(file, path)
        try:
            if fresh or not journal._read(digest):
                journal._begin(digest)
        except BaseException:
            journal.close()
            raise
        return journal

    def _read(self, digest: str) -> bool:
        """Take in what is there; whether it is of this remapping."""
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            if lines.readline() != f"{digest}\n".encode():
                return False
            for line in lines:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - len(line))  # Torn by a kill.
                    break
                try:
                    message, *reports = json.loads(line)
                except ValueError:
                    return False
                self.done.add(message)
                self.reports.update(reports)
        return True

    def _begin(self, digest: str) -> None:
        self.done.clear()
        self.reports.clear()
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{digest}\n".encode())

    def add(self, message: str, reports: Iterable[str]) -> None:
        """A message is mapped, with all that it says stored."""
        told = sorted(reports)
        self.done.add(message)
        self.reports.update(told)
        os.write(self._file, json.dumps([message, *told]).encode() + b"\n")

    def close(self) -> None:
        """Let go of the file, which the same command goes on from."""
        os.close(self._file)

    def end(self) -> None:
        """Everything is mapped: the next one begins anew."""
        self._path.unlink(missing_ok=True)
