"""A Bundle of type history taken apart: the versions and deletions of each resource, the oldest first. Pure.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.source_time import source_time
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE, parse
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ingest.pipeline.bundle_entries import BundleEntry
    from store.fhir.datatypes import JsonObject
    from store.resources.versions import SourceTime

_DELETE: Final = "DELETE"


class Version(NamedTuple):
    """Version of a resource, as a history has it."""

    number: int
    """Number of the entry."""
    key: ResourceKey
    resource: JsonObject | None
    """None: it was deleted."""
    sourced: SourceTime


class Unread(NamedTuple):
    """An entry that tells of no version, and why."""

    number: int
    error: ServiceError


def read_history(
    entries: Sequence[BundleEntry], *, latest: datetime
) -> tuple[dict[ResourceKey, list[Version]], list[Unread]]:
    """The versions of each resource in the order in which they were made.

    R4 has the newest first. Where the source says when each was made, that counts.
    """
    versions: dict[ResourceKey, list[Version]] = {}
    unread: list[Unread] = []
    for number in reversed(range(len(entries))):
        try:
            version = _version(number, entries[number], latest)
        except ServiceError as error:
            unread.append(Unread(number, error))
        else:
            versions.setdefault(version.key, []).append(version)
    for several in versions.values():
        if all(one.sourced for one in several):
            several.sort(key=lambda one: one.sourced)
    return versions, unread[::-1]


def _version(number: int, entry: BundleEntry, latest: datetime) -> Version:
    method = (entry.request or {}).get("method")
    made = (entry.response or {}).get("lastModified")
    if method == _DELETE:
        url = (entry.request or {}).get("url")
        key = _named(url) or _named(entry.full_url)
        if key is None:
            raise _refusal("required", "the deletion names no resource, such as `Patient/123`", "request.url")
        return Version(number, key, None, source_time({}, message=made, latest=latest))
    if entry.resource is None:
        raise _refusal("required", "the entry has no resource, and is no deletion", "resource")
    resource_type, own = entry.resource.get("resourceType"), entry.resource.get("id")
    if isinstance(resource_type, str) and isinstance(own, str):
        key = ResourceKey(resource_type, own)
    else:
        named = _named(entry.full_url)
        if named is None or named.type != resource_type:
            raise _refusal("required", "the version has no id", "resource.id")
        key = named
    return Version(
        number,
        key,
        {**entry.resource, "id": key.id},
        source_time(entry.resource, message=made, latest=latest),
    )


def _named(url: object) -> ResourceKey | None:
    """The resource that a URL names, at whatever base."""
    target = parse(url.partition("?")[0].removeprefix("/")) if isinstance(url, str) else None
    if target is None or target.type is None:
        return None
    tail = "/".join(target.spelling.split("/")[-2:])
    return ResourceKey(*tail.split("/")) if RELATIVE.fullmatch(tail) else None


def _refusal(code: str, text: str, element: str) -> ServiceError:
    return ServiceError(Category.UNPROCESSABLE, Issue(code, text, (f"Bundle.entry.{element}",)))
