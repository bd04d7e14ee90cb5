"""The stored shape: what one document of `resources` and `history` looks like, and how it is read back.

resources  _id "org/env/Type/id", tenant, type, id, version, updated {lo, hi}, when {lo, hi}, expires_at,
           digest, index_version, index {parameter: [spelling…] | {lo, hi}}, keys […], raw (JSON bytes)
           where the tenant has a retention policy: `policy`, its version; why it expires when it does
           (own_until, least_until, needed_until: `store.retention.policy.Ends`); needs [Type/id…]
           files [id…] of the files that it refers to, when it does
           derived_from [Type/id…] of the records of the message that it was made of: they stay as long
           inside [{as, type, id, index, when}] for what it contains, when it does
           created_by "POST" | "PUT" in a version that was a creation
           quiet      true in a version of which no subscriber hears who did not know of the resource
           identity {…} tells who it is (`ingest.pipeline.identity.facts`); its keys […] are among `keys`
           links: how often it was linked with, or parted from, records of the same person; `kin` of a
           deleted one names them (`store.mongo.resources.kinship`)
           held_at: when a transaction met this companion or Patient unchanged (`write_decision.held`), or
           filed something under this Patient (`Reading.pin`); nothing reads it
           A deleted one keeps _id, tenant, id, version, updated, `deleted: true`: no `type`, no search;
           the history of the type finds it by `was`.
history    the same without the search side, all with `type`; _id "org/env/Type/id/version", superseded_at,
           expires_at of its own (and it is never shown once its resource has expired), of [patient keys…],
           ended_at when the resource has expired since and is there again as another
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from store.fhir.instants import ABSENT, Interval, from_datetime, to_datetime
from store.files import references_to_files
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Stored
from store.retention.needs import needs_of
from store.retention.policy import NEVER, UNLIMITED, Ends, ends
from store.search.index import INDEX_VERSION
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from store.resources.versions import Prepared
    from store.retention.policy import Policy
    from store.search.index import Indexed, Inside
    from store.tenancy import Tenant

DOCUMENT_BYTES_MAX: Final = 16 * 1024 * 1024 - 16_384
"""MongoDB's limit, less what a command around the document may take."""
PAST: Final = (
    "index",
    "keys",
    "when",
    "inside",
    "needs",
    "derived_from",
    "policy",
    "own_until",
    "least_until",
    "needed_until",
    "identity",
    "links",
)
"""Fields that a past version no longer has."""
LASTING: Final = ("needs", "needed_until")
"""Fields that say why others stay because of a resource, and it because of others."""


def to_document(  # noqa: PLR0913 -- all that makes one
    tenant: Tenant,
    prepared: Prepared,
    version: int,
    updated: datetime,
    *,
    policy: Policy = UNLIMITED,
    needed: datetime | None = None,
) -> dict[str, Any]:
    """The current document of one resource; `needed` is until when something else needs it."""
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
        **lasting(policy, prepared, updated, needed),
        "digest": prepared.digest,
        **search_side(prepared.indexed),
        **identity_side(prepared),
        **({"files": files} if files else {}),
        **({"derived_from": prepared.derived_from} if prepared.derived_from else {}),
        "raw": prepared.body.stamp(version, updated),
    }


def lasting(
    policy: Policy, prepared: Prepared, received: datetime, needed: datetime | None
) -> dict[str, Any]:
    """Fields that say how long a resource stays, why, and which others stay because of it."""
    if not policy.version:
        return {"expires_at": NEVER}
    resource_type, indexed = prepared.key.type, prepared.indexed
    found = ends(
        policy,
        resource_type=resource_type,
        fields=indexed.fields,
        when=indexed.when,
        received=received,
        needed=needed,
    )
    needs = needs_of(resource_type, indexed.fields, prepared.body.tail, prepared.derived_from)
    return {**ending(found), "policy": policy.version, **({"needs": needs} if needs else {})}


def ending(found: Ends) -> dict[str, Any]:
    """The fields of Ends."""
    return {
        "expires_at": found.expires_at,
        "own_until": found.own,
        **({} if found.least is None else {"least_until": found.least}),
        **({} if found.needed is None else {"needed_until": found.needed}),
    }


def ends_of(document: Mapping[str, Any]) -> Ends:
    """Ends that a document says; a document from before its tenant had a policy stays without end."""
    return Ends(document.get("own_until", NEVER), document.get("least_until"), document.get("needed_until"))


def search_side(indexed: Indexed) -> dict[str, Any]:
    """The fields that are there to be found by; all that a reindex replaces."""
    return {
        "when": _interval(indexed.when),
        "index_version": INDEX_VERSION,
        "index": _fields(indexed.fields),
        "keys": indexed.keys,
        **({"inside": [_inside(one) for one in indexed.inside]} if indexed.inside else {}),
    }


def identity_side(prepared: Prepared) -> dict[str, Any]:
    """The fields that tell who a resource is, and the index entries that find it by them."""
    if prepared.identity is None:
        return {}
    extra = prepared.identity_keys
    if not extra:
        return {"identity": prepared.identity}
    return {
        "identity": {**prepared.identity, "keys": extra},
        "keys": (*prepared.indexed.keys, *extra),
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


def to_tombstone(
    tenant: Tenant, key: ResourceKey, version: int, updated: datetime, expires_at: datetime = NEVER
) -> dict[str, Any]:
    """Tombstone of a deleted resource: its version counter, and that there was one."""
    owner = str(tenant)
    return {
        "_id": document_id(owner, *key),
        "tenant": owner,
        "was": key.type,
        "id": key.id,
        "version": version,
        "updated": _interval(from_datetime(updated)),
        "expires_at": expires_at,
        "deleted": True,
    }


def _interval(interval: Interval) -> dict[str, int]:
    return {"lo": interval.start, "hi": interval.end}


READ: Final = {"_id": 0, "version": 1, "updated": 1, "deleted": 1, "raw": 1}
"""Fields that `from_document` needs."""


def from_document(key: ResourceKey, document: Mapping[str, Any]) -> Stored | Gone:
    """A current or past version as it is read back."""
    version, updated = document["version"], updated_of(document)
    if document.get("deleted"):
        return Gone(key, version, updated)
    return Stored(key, version, updated, document["raw"])


def updated_of(document: Mapping[str, Any]) -> datetime:
    """Moment when this version was stored."""
    return to_datetime(document["updated"]["lo"])


OF_PATIENT: Final = r"^patient(?:[.]identifier)?=(?:[^\\&]|\\.)*$"
"""The entries of `keys` that say which patient a resource is about, and nothing else: `store.search.keys`."""
_OF_PATIENT: Final = re.compile(OF_PATIENT, re.DOTALL)


def patients_among(keys: Iterable[str]) -> list[str]:
    """Keys of the patients whom the entries of `keys` name."""
    return [one for one in keys if _OF_PATIENT.match(one)]
