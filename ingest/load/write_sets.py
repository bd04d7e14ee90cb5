"""Resources that a body of a load writes, and the content for each: two that differ must keep their order.

Pure. What comes to the same may come in any order, so that files which repeat an organisation need not wait
for one another. Messages have the order of their source's time, but some have none, or the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

from ingest.pipeline.bundle_entries import READING
from ingest.pipeline.decode import decode, glance
from ingest.pipeline.identity.numbers import numbers_of
from ingest.pipeline.stamp import dump
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from store.fhir.datatypes import Json, JsonObject

Claims: TypeAlias = "Mapping[str, bytes]"
"""`Type/id`, the condition of a write, or a natural key → a digest of what is written."""
_RECORDS: Final = frozenset({"AuditEvent", "MessageHeader", "Provenance"})
"""Types that tell of one message. Where all have one id, whole feeds would go one message at a time."""


def claims(body: bytes) -> Claims:
    """Claims of a body, whatever may be wrong with it; a resource without a known name is left out."""
    try:
        seen: Json = glance(body)
        if not isinstance(seen, dict):
            return {}
        if seen.get("resourceType") != "Bundle":
            return {name: _digest(body) for name, _ in _named(seen, None)}
        return _of_bundle(decode(body))  # Every digit counts.
    except ServiceError:
        return {}  # It is refused, and writes nothing.


def differ(one: Claims, other: Claims) -> bool:
    """Whether both write a resource, and not the same."""
    if len(other) < len(one):
        one, other = other, one
    return any(other.get(name, digest) != digest for name, digest in one.items())


def _of_bundle(bundle: JsonObject) -> Claims:
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return {}
    claiming = _WAYS.get(str(bundle.get("type")), _of_entry)
    claimed: dict[str, bytes] = {}
    for entry in entries:
        for name, content in claiming(entry) if isinstance(entry, dict) else ():
            # Of two in one body each stands for both.
            claimed[name] = _digest(claimed.get(name, b"") + dump(content))
    return claimed


def _of_entry(entry: JsonObject) -> Iterator[tuple[str, Json]]:
    resource, request = entry.get("resource"), entry.get("request")
    if not isinstance(request, dict):
        if isinstance(resource, dict):
            yield from _named(resource, entry.get("fullUrl"))
        return
    method, url, condition = (request.get(name) for name in ("method", "url", "ifNoneExist"))
    if not isinstance(url, str) or method in READING:
        return
    if method != "POST":
        yield url, [method, resource]
    elif isinstance(condition, str):
        yield f"{url}?{condition}", [method, resource]


def _of_message(entry: JsonObject) -> Iterator[tuple[str, Json]]:
    resource, full_url = entry.get("resource"), entry.get("fullUrl")
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        return
    if resource["resourceType"] not in _RECORDS:
        # Of two sources with one id both wait: which one it is does not matter here.
        kind, own = resource["resourceType"], str(resource.get("id") or full_url)
        numbers = numbers_of(resource, placeholders=frozenset(), source="any", now=None).current
        for name in [number.name for number in numbers] or [own]:
            yield f"message {kind} {name}", resource


def _of_version(entry: JsonObject) -> Iterator[tuple[str, Json]]:
    """Claim of an entry of a history: whatever its request was, it is a version, or a deletion."""
    resource = entry.get("resource")
    yield from _named(resource, entry.get("fullUrl")) if isinstance(resource, dict) else _of_entry(entry)


def _named(resource: JsonObject, full_url: Json) -> Iterator[tuple[str, Json]]:
    own = resource.get("id")
    if not isinstance(own, str) and isinstance(full_url, str):
        own = full_url.removeprefix("urn:uuid:").lower()
    if isinstance(own, str):
        yield f"{resource.get('resourceType')}/{own}", ["PUT", resource]


_WAYS: Final = {"message": _of_message, "document": _of_message, "history": _of_version}


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
