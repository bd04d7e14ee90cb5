"""An export as a zip: NDJSON for each type, the documents as they are, and a manifest of both."""

from __future__ import annotations

import mimetypes
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from ingest.load.files import MANIFEST
from store.errors import StartupError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from store.files import AttachmentStore
    from store.tenancy import Tenant

LINE: Final = "application/fhir+ndjson"
DOCUMENTS: Final = "documents"


class Zip:
    """A zip that is there when it is whole; only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        try:
            handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise StartupError(f"The export {path} cannot be written: {error.strerror}.") from None
        self._file = os.fdopen(handle, "wb")
        self._zip = ZipFile(self._file, "w", ZIP_DEFLATED)
        self._open: tuple[str, IO[bytes]] | None = None
        self._is_done = False
        self._types: list[str] = []
        self._documents: list[dict[str, Any]] = []

    def of(self, resource_type: str) -> IO[bytes]:
        """The open entry of a type; types come one after the other."""
        if self._open is None or self._open[0] != resource_type:
            self._end_entry()
            self._open = (
                resource_type,
                self._zip.open(_entry(f"{resource_type}.ndjson"), "w", force_zip64=True),
            )
            self._types.append(resource_type)
        return self._open[1]

    def _end_entry(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def documents(self, store: AttachmentStore, tenant: Tenant, ids: Iterable[str]) -> None:
        """Put in the documents that the resources refer to."""
        self._end_entry()
        for file_id in ids:
            file = await store.find(tenant, file_id)
            if file is None:
                continue
            kind = file.content_type or "application/octet-stream"
            name = f"{DOCUMENTS}/{file_id}{mimetypes.guess_extension(kind.partition(';')[0].strip()) or ''}"
            with self._zip.open(_entry(name), "w", force_zip64=True) as entry:
                async for piece in store.read(tenant, file, start=0, end=file.size):
                    entry.write(piece)
            told = {"url": name, "contentType": kind, "size": file.size, "sha1": file.sha1.hex()}
            self._documents.append({**told, "resource": f"Binary/{file_id}"})

    def close(self, counts: Counter[str], started: datetime, tenant: Tenant) -> None:
        """Write the manifest, and give the zip its name."""
        self._end_entry()
        manifest = {
            "transactionTime": started,
            "tenant": str(tenant),
            "outputFormat": LINE,
            "output": [
                {"type": name, "url": f"{name}.ndjson", "count": counts[name]} for name in sorted(self._types)
            ],
            "documents": self._documents,
            "error": [],
        }
        written = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n"
        self._zip.writestr(_entry(MANIFEST), written)
        self._zip.close()
        self._file.close()
        self._part.replace(self._path)
        self._is_done = True

    def abandon(self) -> None:
        """Take away what was not finished."""
        if self._is_done:
            return
        for end in (self._end_entry, self._zip.close, self._file.close):
            with suppress(OSError, ValueError):  # What they still hold finds no room: it is to go anyway.
                end()
        self._part.unlink(missing_ok=True)


def _entry(name: str) -> ZipInfo:
    """An entry that only its owner may read once it is unpacked."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info
