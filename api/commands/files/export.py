"""The work of `dod export`, without the command line around it: stored resources as NDJSON, page by page.

A page is at most `DOD_PAGE_BYTES_MAX` long, so memory is bounded whatever there is. What an operator reads
here is what `dod search` reads: nothing that has expired, each resource in its current version.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlencode

import orjson

from api.app import limits_of
from api.commands.access.tenants import existing_tenant
from api.commands.files.companions import Companions
from api.commands.files.exported import Exported, entries
from api.commands.files.zipped import Zip
from api.commands.search import origin_of
from api.commands.terminal import user
from api.search.answer import Asker, begin
from api.search.everything import about
from api.search.linked import records_of_person
from ingest.http.app_keys import base_under
from ingest.load.files import MANIFEST
from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError, StartupError
from store.fhir.instants import from_datetime
from store.files import references_to_files
from store.near import unknown_type
from store.retention.subjects import read_subject
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext
from store.search.reach import Everything

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from api.settings.service import Settings
    from store.search.parsing.query_text import Pair
    from store.stores import Stores
    from store.tenancy import Tenant

PAGE: Final = 500
"""Resources read at once; fewer where they are long."""
_SHAPE: Final[tuple[Pair, ...]] = (("_count", str(PAGE)), ("_total", "none"))
_LINE: Final = "application/fhir+ndjson"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The options of the command line."""

    tenant: Tenant
    target: str
    """A folder; or a file whose name ends in `.ndjson`, `.ndjson.gz` or `.zip`; or `-`, stdout."""
    types: Sequence[str] = ()
    """Resource types; none: all, or those that have the parameters of the query."""
    pairs: Sequence[Pair] = ()
    """Search parameters that every resource must fulfil."""
    patient: str | None = None
    """`system|value` or `Patient/id`: this patient, and what is about them."""
    compressed: bool = False
    """Files in a folder are compressed."""

    @property
    def is_a_persons_own(self) -> bool:
        """Whether it is all of a person's own data, with what that refers to."""
        return self.patient is not None and self.target.endswith(".zip") and not self.types


class Sink(Protocol):
    """The place where the lines of one type go."""

    def of(self, resource_type: str) -> IO[bytes]:
        """The open file of a type."""

    def close(self, counts: Counter[str], started: datetime, tenant: Tenant) -> None:
        """Finish: all lines are there."""

    def abandon(self) -> None:
        """Take away what was begun and not finished."""


async def export(
    stores: Stores, settings: Settings, request: ExportRequest, *, now: datetime, warn: Callable[[str], None]
) -> None:
    """Write all that the request asks for. Raises ServiceError or StartupError when it is refused."""
    await existing_tenant(stores.access, request.tenant)
    base = base_under(origin_of(settings), str(request.tenant))
    context = SearchContext(limits_of(settings), base, from_datetime(now).start, strict=True)
    asker = Asker(stores.resources, request.tenant, base, b"", Everything())
    who = await _who(stores, asker, request, context)
    searches = {one: _pairs(request, one, who) for one in _types(request)}
    for resource_type, pairs in searches.items():  # Every refusal before the first line is written.
        begin(resource_type, pairs, context, link_seconds=settings.page_token_seconds)
    await _on_record(stores, request, now)
    counts: Counter[str] = Counter()
    documents: dict[str, None] = {}
    along = Companions(stores.resources, request.tenant, _subject(request))
    resources = Exported(asker, searches, context, along if request.is_a_persons_own else None)
    await resources.look()
    sink = _sink(request)
    try:
        async for key, raw in resources.every():
            sink.of(key.type).write(raw.replace(b"\n", b" ") + b"\n")
            counts[key.type] += 1
            documents.update(dict.fromkeys(references_to_files(raw)))
        if isinstance(sink, Zip):
            await sink.documents(stores.attachments, request.tenant, documents)
        sink.close(counts, now, request.tenant)
    except BrokenPipeError:  # Whoever reads stdout has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    finally:
        sink.abandon()
    for resource_type, number in sorted(counts.items()):
        warn(f"{number:,} {resource_type}")
    warn(f"{counts.total():,} resources of {request.tenant}")


async def _on_record(stores: Stores, request: ExportRequest, now: datetime) -> None:
    """Put the export on record before the first line is written."""
    patients = tuple(filter(None, (_subject(request),)))
    query = urlencode(request.pairs).encode()
    record = AuditRecord(
        request.tenant,
        now,
        user(),
        Deed.EXPORTED.value,
        patients=patients,
        resource=",".join(request.types),
        query=query,
    )
    await stores.privacy.audit.note(record)


def _subject(request: ExportRequest) -> str:
    """Name of the patient; empty: it is about no one alone."""
    return "" if request.patient is None else read_subject(request.patient).name


# --- what to search for


def _types(request: ExportRequest) -> list[str]:
    """The types to export. Raises ServiceError for one that is unknown, or when no type is left."""
    for name in request.types:
        if name not in TYPES:
            raise ServiceError(Category.NOT_FOUND, unknown_type(name, TYPES))
    if request.types:
        return list(dict.fromkeys(request.types))
    asked = {name.partition(":")[0].partition(".")[0] for name, _ in request.pairs}
    found = [name for name in TYPES if all(one in TYPES[name].by_name for one in asked)]
    if request.patient is not None:
        found = [name for name in found if name == "Patient" or "patient" in TYPES[name].by_name]
    # Nobody has all of the parameters: the search of the usual type says which one is unknown.
    return found or ["DiagnosticReport"]


async def _who(
    stores: Stores, asker: Asker, request: ExportRequest, context: SearchContext
) -> tuple[str, ...]:
    """Ids of the records of the person that is asked for."""
    if request.patient is None:
        return ()
    subject = read_subject(request.patient)
    ids = [subject.reference.rpartition("/")[2]] if subject.reference else []
    if subject.identifier:
        carrying = [("identifier", request.patient), *_SHAPE]
        ids = [entry.key.id async for entry in entries(asker, "Patient", carrying, context)]
    return await records_of_person(stores.resources, request.tenant, ids)


def _pairs(request: ExportRequest, resource_type: str, who: Sequence[str]) -> list[Pair]:
    return [*request.pairs, *_about(request.patient, resource_type, who), *_SHAPE]


def _about(patient: str | None, resource_type: str, who: Sequence[str]) -> list[Pair]:
    if patient is None:
        return []
    if read_subject(patient).identifier and (resource_type != "Patient" or not who):
        # Whoever names the patient by the number alone is found, too.
        return [("identifier" if resource_type == "Patient" else "patient.identifier", patient)]
    return [about(resource_type, who)]


# --- where it goes


def _sink(request: ExportRequest) -> Sink:
    """The target, open. Raises StartupError when it cannot be written."""
    if request.target == "-":
        return _File(None)
    path = Path(request.target)
    if path.name.endswith(".zip"):
        return Zip(path)
    try:
        return (
            _File(path)
            if path.name.endswith((".ndjson", ".ndjson.gz"))
            else _Folder(path, compressed=request.compressed)
        )
    except OSError as error:
        raise StartupError(f"The export {path} cannot be written: {error.strerror}.") from None


class _File:
    """A single file for all types, or stdout."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._out = sys.stdout.buffer if path is None else _private(_part(path))

    def of(self, resource_type: str) -> IO[bytes]:  # noqa: ARG002 -- of the protocol
        """The file, whatever the type."""
        return self._out

    def close(self, counts: Counter[str], started: datetime, tenant: Tenant) -> None:  # noqa: ARG002
        """Give the file its name."""
        self._out.flush()
        if self._path is not None:
            self._out.close()
            _part(self._path).replace(self._path)

    def abandon(self) -> None:
        """Take away what was not finished."""
        if self._path is not None:
            with suppress(OSError):  # What it still holds finds no room: it is to go anyway.
                self._out.close()
            _part(self._path).unlink(missing_ok=True)


class _Folder:
    """A file for each type, and a manifest when all of them are there."""

    def __init__(self, path: Path, *, compressed: bool) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(path.iterdir()):
            raise StartupError(f"The folder {path} is not empty: an export goes into a new one.")
        self._path = path
        self._suffix = ".ndjson.gz" if compressed else ".ndjson"
        self._files: dict[str, IO[bytes]] = {}

    def of(self, resource_type: str) -> IO[bytes]:
        """The file of a type; there is none for a type without resources."""
        if resource_type not in self._files:
            self._files[resource_type] = _private(_part(self._name(resource_type)))
        return self._files[resource_type]

    def close(self, counts: Counter[str], started: datetime, tenant: Tenant) -> None:
        """Give the files their names, and write the manifest."""
        output = []
        for resource_type, file in sorted(self._files.items()):
            file.close()
            name = self._name(resource_type)
            _part(name).replace(name)
            output.append({"type": resource_type, "url": name.name, "count": counts[resource_type]})
        manifest = {
            "transactionTime": started,
            "tenant": str(tenant),
            "outputFormat": _LINE,
            "output": output,
            "error": [],
        }
        with _private(self._path / MANIFEST) as file:
            file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n")

    def abandon(self) -> None:
        """Take away what was not finished."""
        for resource_type, file in self._files.items():
            with suppress(OSError):
                file.close()
            _part(self._name(resource_type)).unlink(missing_ok=True)

    def _name(self, resource_type: str) -> Path:
        return self._path / f"{resource_type}{self._suffix}"


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner may read; compressed when its name says so."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    return cast("IO[bytes]", gzip.open(path, "wb", 6)) if ".gz" in path.suffixes else path.open("wb")
