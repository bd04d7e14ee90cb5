"""The stored shape: what one document of `resources` and `history` looks like, and how it is read back.

resources  _id "org/env/Type/id", tenant, type, id, version, updated {lo, hi}, when {lo, hi}, expires_at,
           digest, index_version, index {parameter: [spelling…] | {lo, hi}}, keys […], raw (JSON bytes)
           files [id…] of the files that it refers to, when it does
           inside [{as, type, id, index, when}] for what it contains, when it does
           created_by "POST" | "PUT" in a version that was a creation
           A deleted one keeps _id, tenant, id, version, updated, `deleted: true`: no `type`, no search;
           the history of the type finds it by `was`.
history    the same without the search side, all with `type`; _id "org/env/Type/id/version"
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from store.attachments import references_to_files
from store.fhir.instants import ABSENT, Interval, from_datetime, to_datetime
from store.resources import Gone, ResourceKey, Stored
from store.search.index import INDEX_VERSION
from store.search.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.resources import Prepared
    from store.search.index import Indexed, Inside
    from store.tenancy import Tenant

DOCUMENT_BYTES_MAX: Final = 16 * 1024 * 1024 - 16_384
"""MongoDB's limit, less what a command around the document may take."""
NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""When a resource expires that is kept without end."""


def to_document(tenant: Tenant, prepared: Prepared, version: int, updated: datetime) -> dict[str, Any]:
    """The current document of one resource."""
    key = prepared.key
    owner = str(tenant)
    files = references_to_files(prepared.body.tail)
    return {
        "_id": document_id(owner, *key),
        "tenant": owner,
        "type": key.type,
        "id": key.id,
        "version": version,
        "updated": _interval(from_datetime(updated)),
        "expires_at": NEVER,
        "digest": prepared.digest,
        **search_side(prepared.indexed),
        **({"files": files} if files else {}),
        "raw": prepared.body.stamp(version, updated),
    }


def search_side(indexed: Indexed) -> dict[str, Any]:
    """The fields that are there to be found by; all that a reindex replaces."""
    return {
        "when": _interval(indexed.when),
        "index_version": INDEX_VERSION,
        "index": _fields(indexed.fields),
        "keys": indexed.keys,
        **({"inside": [_inside(one) for one in indexed.inside]} if indexed.inside else {}),
    }


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _interval(v) if isinstance(v, Interval) else v for name, v in fields.items()}


def _inside(one: Inside) -> dict[str, Any]:
    """A contained resource in the shape of a document, so that the same conditions apply to it."""
    return {
        "as": one.spelling,
        "type": one.type,
        "id": one.spelling.partition("#")[2],
        "when": _interval(one.when),
        "updated": _interval(ABSENT),
        "index": _fields(one.fields),
    }


def to_tombstone(tenant: Tenant, key: ResourceKey, version: int, updated: datetime) -> dict[str, Any]:
    """What stays of a deleted resource: the version counter, and that there was one."""
    owner = str(tenant)
    return {
        "_id": document_id(owner, *key),
        "tenant": owner,
        "was": key.type,
        "id": key.id,
        "version": version,
        "updated": _interval(from_datetime(updated)),
        "expires_at": NEVER,
        "deleted": True,
    }


def _interval(interval: Interval) -> dict[str, int]:
    return {"lo": interval.start, "hi": interval.end}


READ: Final = {"_id": 0, "version": 1, "updated": 1, "deleted": 1, "raw": 1}
"""What `from_document` needs."""


def from_document(key: ResourceKey, document: Mapping[str, Any]) -> Stored | Gone:
    """A current or past version as it is read back."""
    version, updated = document["version"], updated_of(document)
    if document.get("deleted"):
        return Gone(key, version, updated)
    return Stored(key, version, updated, document["raw"])


def updated_of(document: Mapping[str, Any]) -> datetime:
    """When this version was stored."""
    return to_datetime(document["updated"]["lo"])
