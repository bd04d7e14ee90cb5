"""Verification of what is stored: bytes against digest, version and key, and index against the bytes.

The fingerprint of a tenant is a sum over its contents: the same in whatever order, and by however many runs,
they are gone through. Two databases with equal fingerprints hold equal contents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ingest.pipeline.decode import decode
from ingest.pipeline.stamp import digest, unstamped
from ingest.reindex import indexed
from store.errors import ServiceError
from store.resources.pages import Outdated

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.tenancy import Tenant
    from store.verifying import StoredFile, StoredVersion, Verifying

PARTS: Final = ("current", "past", "files")
_ALL: Final = 1 << 256
NOT_COMPARED: Final = "index not compared"
"""An index that the present rules did not make, or that only a base URL could tell."""


@dataclass(slots=True)
class Report:
    """Findings on a tenant so far."""

    part: str = PARTS[0]
    after: str = ""
    """Place in that part up to which all is done."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    faults: int = 0
    not_compared: int = 0
    total: int = 0
    is_done: bool = False

    @property
    def fingerprint(self) -> str:
        """The sum over all contents."""
        return f"{self.total:064x}"

    def add(self, part: str, place: str, content: bytes) -> None:
        """Count a content."""
        self.after = place
        self.counts[part] += 1
        hashed = sha256(f"{part}\0{place}\0".encode() + content).digest()
        self.total = (self.total + int.from_bytes(hashed, "big")) % _ALL


async def verify(  # noqa: PLR0913 -- all but two keyword-only
    store: Verifying,
    tenant: Tenant,
    *,
    base: str | None,
    batch: int,
    report: Report,
    fault: Callable[[str, str], None],
    progress: Callable[[Report], None],
) -> Report:
    """Go through a tenant from where the report has come to; `fault` is told a place and what is wrong."""

    def found(place: str, why: str) -> None:
        report.faults += 1
        fault(place, why)

    for part in PARTS[PARTS.index(report.part) :]:
        report.part = part
        while await _batch(store, tenant, part, base=base, batch=batch, report=report, found=found):
            progress(report)
        report.after = ""
    report.is_done = True
    progress(report)
    return report


async def _batch(  # noqa: PLR0913 -- all but three keyword-only
    store: Verifying,
    tenant: Tenant,
    part: str,
    *,
    base: str | None,
    batch: int,
    report: Report,
    found: Callable[[str, str], None],
) -> bool:
    """Check a batch; whether there may be another."""
    if part == "files":
        files = await store.files(tenant, after=report.after, limit=batch)
        for file in files:
            for why in _faults_of_file(file):
                found(file.place, why)
            report.add(part, file.place, file.found_sha1)
        return bool(files)
    walk = store.current if part == "current" else store.past
    versions = await walk(tenant, after=report.after, limit=batch)
    for version in versions:
        try:
            content = digest(unstamped(decode(version.raw), version.key))
        except ServiceError:
            found(version.place, "its bytes are no JSON")
            content = b""
        for why in _faults(version, content, tenant, base=base):
            if why == NOT_COMPARED:
                report.not_compared += 1
            else:
                found(version.place, why)
        report.add(part, version.place, version.version.to_bytes(8, "big") + content)
    return bool(versions)


def _faults_of_file(file: StoredFile) -> list[str]:
    if file.found_length != file.length:
        return ["the file is incomplete"]
    return [] if file.found_sha1 == file.sha1 else ["the file is not what its hash says"]


def _faults(version: StoredVersion, content: bytes, tenant: Tenant, *, base: str | None) -> list[str]:
    """Faults of a version."""
    if not content:
        return []  # Told already.
    faults = []
    if version.digest is not None and version.digest != content:
        faults.append("its bytes are not what its digest says")
    resource = decode(version.raw)
    meta = resource.get("meta")
    said = (resource.get("resourceType"), resource.get("id"))
    number = meta.get("versionId") if isinstance(meta, dict) else None
    if (*said, number) != (*version.key, str(version.version)):
        faults.append("its bytes name another type, id or version than their place")
    if not version.has_present_index:
        return faults if version.place.count("/") > CURRENT_SLASHES else [*faults, NOT_COMPARED]
    try:
        made = indexed(Outdated(version.key, version.version, version.raw, content, None), tenant, base=base)
    except ServiceError:
        return [*faults, NOT_COMPARED]
    if not version.agrees(made):
        faults.append("its index is not what its bytes say: `dod reindex` does not mend it, PUT it again")
    return faults


CURRENT_SLASHES: Final = 3
"""Slashes in the `_id` of a current resource; a past version has one more."""
