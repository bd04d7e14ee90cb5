"""A message Bundle → upserts: who each entry is, and every reference pointing at where it will be stored.

Pure. https://hl7.org/fhir/R4/messaging.html
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from operator import is_not
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.bundles import entries_of, is_kept_whole, misplaced
from ingest.envelope import deviations
from ingest.identity import Identity, identity, of_source, stable_id
from ingest.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.datatypes import Malformed, object_of, text_of
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.resources import Identified
    from store.tenancy import Tenant


class Addressed(NamedTuple):
    """One entry and its natural key."""

    resource: JsonObject
    full_url: str | None
    identity: Identity
    content: bytes
    """Without the id: equal content under one key is one resource sent twice."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken apart, in the order of its entries."""

    entries: tuple[Addressed, ...]
    main: frozenset[int]
    """The entries that the message is about: reports, else observations, else all but the header."""
    tolerances: tuple[str, ...] = ()
    """Deviations of the envelope."""
    issues: tuple[Issue, ...] = ()
    """The same where they refuse."""

    @property
    def identifiers(self) -> tuple[Identified, ...]:
        """What to look up before ids are given."""
        return tuple({e.identity.identifier for e in self.entries if e.identity.identifier})


MAIN: Final = ("DiagnosticReport", "Observation")
"""What a message is about, the first of these that it has."""


def read_message(
    bundle: JsonObject,
    *,
    client: str,
    entries_max: int,
    operation: str = "$process-message",
    strict: bool = False,
) -> Message:
    """Take a message apart. Raises ServiceError with every issue of its envelope."""
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "message":
        issue = Issue("invalid", misplaced(bundle, "`message`"), ("Bundle.type",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    entries = entries_of(bundle, entries_max=entries_max)
    issues = [
        Issue("required", f"`Bundle.entry[{n}].resource` is missing", (f"Bundle.entry[{n}].resource",))
        for n, entry in enumerate(entries)
        if entry.resource is None
    ]
    if not entries:
        issues.append(Issue("required", "a message has at least one entry", ("Bundle.entry",)))
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    resources = [(entry.resource or {}, entry.full_url) for entry in entries]
    headed = resources[0][0].get("resourceType") == "MessageHeader"
    source = _source(resources[0][0], client) if headed else f"client {client}"
    found = tuple(deviations(entries, operation))
    addressed = _addressed(resources, source)
    return Message(
        addressed,
        _main(addressed),
        tuple(dict.fromkeys(name for name, _ in found)),
        tuple(issue for _, issue in found) if strict else (),
    )


def _main(entries: Sequence[Addressed]) -> frozenset[int]:
    types = [str(one.resource["resourceType"]) for one in entries]
    wanted = next((name for name in MAIN if name in types), None)
    return frozenset(
        n for n, name in enumerate(types) if (name == wanted if wanted else name != "MessageHeader")
    )


def _source(header: JsonObject, client: str) -> str:
    """Who sent it: the source's ids are unique within this."""
    try:
        source = object_of(header.get("source") or {}, "MessageHeader.source")
        endpoint = text_of(source, "endpoint", "MessageHeader.source")
    except Malformed as error:
        issue = Issue("structure", f"`{error.path}` {error.rule}", (error.path,))
        raise ServiceError(Category.UNPROCESSABLE, issue) from None
    return f"source {endpoint}" if endpoint else f"client {client}"


def _addressed(resources: Sequence[tuple[JsonObject, str | None]], source: str) -> tuple[Addressed, ...]:
    taken: dict[str, bytes] = {}
    found = []
    for number, (resource, full_url) in enumerate(resources):
        if not isinstance(resource.get("resourceType"), str):
            path = f"Bundle.entry[{number}].resource.resourceType"
            issue = Issue("required", f"`{path}` is missing", (path,))
            raise ServiceError(Category.UNPROCESSABLE, issue)
        content = dump({name: value for name, value in resource.items() if name != "id"})
        named = full_url or isinstance(resource.get("id"), str)
        fallback = full_url or ("" if named else f"entry {sha256(content).hexdigest()}")
        own = identity(resource, source=source, fallback=fallback)
        # Two entries under one identifier that say different things are two resources.
        if taken.get(own.name, content) != content:
            own = of_source(resource, source=source, fallback=fallback)
        taken[own.name] = content
        found.append(Addressed(resource, full_url, own, content))
    return tuple(found)


def place(
    message: Message, tenant: Tenant, *, known: Mapping[Identified, frozenset[str]], secret: bytes
) -> list[tuple[JsonObject, str]]:
    """Each resource with the id it will have, its references rewritten to stored ids."""
    ids = _ids(message.entries, tenant, known=known, secret=secret)
    targets: dict[str, str] = {}
    for entry, resource_id in zip(message.entries, ids, strict=True):
        resource_type, own = entry.resource["resourceType"], entry.resource.get("id")
        stored = f"{resource_type}/{resource_id}"
        if isinstance(own, str):
            targets[f"{resource_type}/{own}"] = stored
        if entry.full_url is not None:
            targets[entry.full_url] = stored
    return [
        (redirected(entry.resource, targets), resource_id)
        for entry, resource_id in zip(message.entries, ids, strict=True)
    ]


def _ids(
    entries: Sequence[Addressed],
    tenant: Tenant,
    *,
    known: Mapping[Identified, frozenset[str]],
    secret: bytes,
) -> list[str]:
    """The id of each entry; no two that say different things meet at one, for the first would be lost.

    It is the stable id, or the lowest id of those that carry the identifier under an id of their own.
    """
    taken: dict[tuple[str, str], bytes] = {}
    ids: list[str] = []
    for number, entry in enumerate(entries):
        resource_type, own = str(entry.resource["resourceType"]), entry.identity
        derived = stable_id(tenant, own.name, secret)
        carriers = known.get(own.identifier, frozenset()) if own.identifier else frozenset()
        stored = derived if derived in carriers else min(carriers, default=derived)
        free = (i for i in (stored, derived) if taken.get((resource_type, i), entry.content) == entry.content)
        chosen = next(free, None)
        if chosen is None:
            path = f"Bundle.entry[{number}].resource.id"
            text = f"`{path}`: an entry before has the same type and id, and says something else"
            raise ServiceError(Category.UNPROCESSABLE, Issue("invalid", text, (path,)))
        taken[resource_type, chosen] = entry.content
        ids.append(chosen)
    return ids


_POINTERS: Final = frozenset({"reference", "url"})
"""Elements that point at an entry: Reference.reference, Attachment.url."""


def redirected(resource: JsonObject, targets: Mapping[str, str]) -> JsonObject:
    """The resource as it is stored beside the others."""
    return resource if is_kept_whole(resource) else rewritten(resource, targets)


def rewritten(resource: JsonObject, targets: Mapping[str, str]) -> JsonObject:
    """The resource with its references to these targets pointing at where those are stored.

    What points at none of them is the same object as before, and not a copy.
    """
    changed: dict[str, Json] = {}
    for name, value in resource.items():
        if isinstance(value, str) and name not in _POINTERS:
            continue
        new = _rewritten(name, value, targets)
        if new is not value:
            changed[name] = new
    return {**resource, **changed} if changed else resource


def _rewritten(name: str, value: Json, targets: Mapping[str, str]) -> Json:
    if isinstance(value, str):
        # A version of the source means nothing here.
        there = name in _POINTERS and (targets.get(value) or targets.get(value.partition("/_history/")[0]))
        return there or value
    if isinstance(value, dict):
        return rewritten(value, targets)
    if isinstance(value, list):
        ones = [_rewritten(name, one, targets) for one in value]
        return ones if any(map(is_not, ones, value)) else value
    return value
