"""Requests that must take effect once: their names, and their answers made fit to be remembered.

Pure. An answer is kept without the resources it shows: those are in the store already.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from ingest.pipeline.bundle_entries import relative
from ingest.pipeline.decode import decode, glance
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE
from store.resources.answers import Remembered, Shown, Slot
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
"""Header of an answer that was given before."""
IF_NONE_EXIST: Final = "If-None-Exist"
CONDITIONS: Final = ("If-Match", "If-None-Match", IF_NONE_EXIST)
"""Headers that belong to what is asked for."""
_BUNDLE: Final = "bundle "
_VERSION: Final = re.compile(
    r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})/_history/(?P<version>\d+)$"
)
_KEY: Final = re.compile(r"[!-~]{1,255}")
_KEPT: Final = frozenset({"location", "etag", "last-modified", "dod-tolerances", "content-type"})
_BUNDLE_OF_OURS: Final = b'{"resourceType":"Bundle"'
_SHOWING: Final = b'"resource":'
"""Member of an entry that shows a resource; a message's answer has none."""
_OURS: Final = frozenset({"Bundle", "OperationOutcome"})
"""Types of bodies that this service made, in contrast to resources it shows."""


class RequestIdentity(NamedTuple):
    """Evidence that tells one request from another."""

    method: str
    path: str
    conditions: Sequence[str]
    body: bytes | bytearray


def slot_of_key(key: str, client: str, asked: bytes) -> Slot:
    """The place of a request with an `Idempotency-Key`; `asked` is its fingerprint. Raises ServiceError."""
    if not _KEY.fullmatch(key):
        text = f"`{HEADER}` must be 1 to 255 visible ASCII characters"
        raise ServiceError(Category.INCORRECT, Issue("value", text, (HEADER,)))
    return Slot(client, "key " + sha256(key.encode()).hexdigest(), asked)


def slot_of_bundle(client: str, asked: bytes) -> Slot:
    """The place of a whole Bundle: the same bytes by the same client are the same request."""
    return Slot(client, _BUNDLE + asked.hex(), asked)


def is_of_bundle(slot: Slot) -> bool:
    """Whether a slot is that of a whole Bundle, which has no key."""
    return slot.name.startswith(_BUNDLE)


def effects(answer: bytes, asked: bytes | bytearray, *, base: str) -> dict[ResourceKey, int | None]:
    """The version of each resource that a Bundle made, by its answer; None: it deleted the resource."""
    made: dict[ResourceKey, int | None] = {}
    requests: Sequence[Any] | None = None
    for number, entry in enumerate(glance(answer).get("entry", ())):
        response = entry.get("response", {})
        if "location" in response:
            match = _VERSION.search(response["location"])
            if match is not None:
                made[ResourceKey(match["type"], match["id"])] = int(match["version"])
        elif str(response.get("status", "")).startswith("204"):
            requests = glance(bytes(asked)).get("entry", ()) if requests is None else requests
            url = relative(str(requests[number].get("request", {}).get("url")), base) or ""
            if RELATIVE.fullmatch(url):
                kind, _, own = url.partition("/")
                made[ResourceKey(kind, own)] = None
    return made


def fingerprint(request: RequestIdentity) -> bytes:
    """Equal for what asks for the same."""
    told = sha256()
    for part in (request.method, request.path, *request.conditions):
        told.update(sha256(part.encode(errors="surrogateescape")).digest())
    told.update(request.body)
    return told.digest()


def check(known: Remembered, slot: Slot) -> None:
    """Raise ServiceError `unprocessable` when the key was used for something else."""
    if known.fingerprint != slot.fingerprint:
        raise used_otherwise()


def used_otherwise() -> ServiceError:
    """The refusal of a key that came with another request before."""
    text = f"this `{HEADER}` was used before, with another request"
    return ServiceError(Category.UNPROCESSABLE, Issue("conflict", text, (HEADER,)))


def to_remember(
    slot: Slot, *, status: int, headers: Mapping[str, str], body: bytes, until: datetime
) -> Remembered:
    """The answer, less the resources."""
    kept = {name: value for name, value in headers.items() if name.lower() in _KEPT}
    if _SHOWING not in body and body.startswith(_BUNDLE_OF_OURS):
        return Remembered(slot.fingerprint, status, kept, body, (), until)
    told: dict[str, Any] = dict(decode(body)) if body else {}
    if not told:
        return Remembered(slot.fingerprint, status, kept, body, (), until)
    if told["resourceType"] not in _OURS or not told.get("type", "-response").endswith("-response"):
        return Remembered(slot.fingerprint, status, kept, b"", (_shown(None, told),), until)
    shown = []
    for number, entry in enumerate(told.get("entry", ())):
        resource = entry.get("resource")
        if resource is not None and (resource["resourceType"] not in _OURS or _is_stored(resource)):
            shown.append(_shown(number, entry.pop("resource")))
    return Remembered(slot.fingerprint, status, kept, dump(told), tuple(shown), until)


def _is_stored(resource: Mapping[str, Any]) -> bool:
    return "versionId" in resource.get("meta", ())


def _shown(place: int | None, resource: Mapping[str, Any]) -> Shown:
    key = ResourceKey(resource["resourceType"], resource["id"])
    return Shown(place, key, int(resource["meta"]["versionId"]))


def whole(known: Remembered, resources: Mapping[Shown, bytes]) -> bytes:
    """The body of the answer, put together again; what is not there any more is left out."""
    if not known.shown:
        return known.body
    if known.shown[0].place is None:
        return resources.get(known.shown[0], b"")
    told: dict[str, Any] = dict(decode(known.body))
    for one in known.shown:
        raw = resources.get(one)
        if raw is not None and one.place is not None:
            told["entry"][one.place]["resource"] = orjson.Fragment(raw)
    return dump(told)


def all_well(body: bytes) -> bool:
    """Whether each entry of a response Bundle ended well: what did not may be tried again."""
    entries = glance(body).get("entry", ())
    return all(str(entry.get("response", {}).get("status", "200"))[:1] in "23" for entry in entries)
