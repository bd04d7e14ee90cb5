"""Meaning of a write for what is stored: a document to put in its place, a few fields, or nothing.

Decided from the current document alone, so that a group commit and a transaction decide alike.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import bson
from pymongo import InsertOne, ReplaceOne, UpdateOne

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.documents import DOCUMENT_BYTES_MAX, LASTING, to_document, to_tombstone, updated_of
from store.mongo.driver.error_codes import passing_failure
from store.mongo.resources.kinship import kept_evidence, kept_kin, kin_of, parted, without_kin
from store.mongo.resources.late_versions import (
    EXTRAS,
    awaits,
    carried,
    confirmed,
    is_late,
    latest_of,
    next_version,
    standing,
)
from store.resources.resource_keys import ResourceKey
from store.resources.versions import (
    ANOTHER_BY_NOW,
    ANY_VERSION,
    LABELS,
    LABELS_LEFT_OUT,
    NEWER_BY_NOW,
    Deletion,
    Gone,
    Outcome,
    PutResult,
    Stored,
    version_matches,
)
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.resources.versions import Prepared, Provided, SourceTime
    from store.retention.policy import Policy, TenantRetention
    from store.tenancy import Tenant

STANDING: Final = dict.fromkeys(
    (
        *("version", "updated", "deleted", "digest", "expires_at", "identity", "kin", *LASTING, *EXTRAS),
        *(f"index._{label}" for label in LABELS),
    ),
    1,
)
"""Fields of a stored document that a decision needs."""
DUPLICATE_KEY: Final = 11000
"""Code of the error of a write that somebody else was faster with."""
RACED: Final = ServiceError(
    Category.CONFLICT, Issue("conflict", "the resource was changed by others all the while; try again")
)
"""Stays the answer only when the last attempt, too, came too late."""
_TOO_LARGE: Final = Issue(
    "too-long", "the resource, with what is indexed of it, is larger than can be stored"
)
_SURELY_FITS: Final = 1_000_000
"""Bytes of a resource whose index entries cannot make it too large; beyond, it is measured."""
_OTHER_VERSION: Final = Issue("conflict", "`If-Match` names a version that is not the current one")
_NONE_THERE: Final = Issue("conflict", "`If-Match: *` was asked for, and there is no such resource")


class Write(NamedTuple):
    """Resource to put, or (`prepared` is None) to delete."""

    id: str
    """`_id` of its document."""
    tenant: Tenant
    key: ResourceKey
    prepared: Prepared | None
    only_version: int | None
    retiring: SourceTime | None = None
    """Delete only a companion, for what a source said at this time."""
    alone: bool = False
    """Delete one that came by itself as a companion, too."""
    sourced: SourceTime = ""
    """Time at which its source deleted it."""
    provided: tuple[Provided, ...] = ()
    """Conditions under which it holds."""


class WriteContext(NamedTuple):
    """Time and retention policies shared by all writes of one group."""

    now: datetime
    retention: Mapping[str, TenantRetention]
    """Retention of each tenant, by name."""
    quiet: bool = False
    """Whether subscribers are not to hear of what is new to them."""

    @property
    def marks(self) -> dict[str, Any]:
        """Fields of every version that is written."""
        return {"quiet": True} if self.quiet else {}

    def policy(self, tenant: Tenant) -> Policy:
        """Policy by which the data of a tenant stay."""
        return self.retention[str(tenant)].policy

    def ends_of_past(self) -> dict[str, datetime]:
        """Ends of the versions that are superseded now, by tenant."""
        return {name: one.policy.superseded_until(self.now) for name, one in self.retention.items()}


class Decision(NamedTuple):
    """Decision on a write: a document to write, or none when nothing changes."""

    result: PutResult | Gone | ServiceError | None
    document: Mapping[str, Any] | None = None
    replaces: Mapping[str, Any] | None = None
    """Filter that the stored document must still match; None: no document may exist."""
    touch: Mapping[str, Any] | None = None
    """Fields to set beside the content that stays: no version."""
    late: bool = False
    """A newer one is current, or one of the same time that says something else: `LateVersions` decides."""
    parts: bool = False
    """Whether it is another person's than the records that it was linked with."""

    def without_kin(self, gone: AbstractSet[str]) -> Decision:
        """The same decision, without links to these records."""
        return self if self.document is None else self._replace(document=without_kin(self.document, gone))


def _leaves_labels_out(prepared: Prepared, current: Mapping[str, Any]) -> bool:
    there, fields = current.get("index") or {}, prepared.indexed.fields
    return any(f"_{label}" in there and f"_{label}" not in fields for label in LABELS)


def _refusal(prepared: Prepared, current: Mapping[str, Any], *, deleted: bool) -> ServiceError | None:
    """Refusal of another content for what is there, or was; None: nothing speaks against it."""
    if prepared.keeps_labels and not deleted and _leaves_labels_out(prepared, current):
        return ServiceError(Category.CONFLICT, LABELS_LEFT_OUT)
    since = prepared.unless_since
    if since is not None and updated_of(current) > since:
        return ServiceError(Category.PRECONDITION, NEWER_BY_NOW)
    return None


def write_of(tenant: Tenant, one: Prepared | Deletion) -> Write:
    """Write of a prepared resource or of a deletion."""
    prepared = None if isinstance(one, Deletion) else one
    sourced = one.sourced if isinstance(one, Deletion) else ""
    return Write(
        document_id(str(tenant), *one.key),
        tenant,
        one.key,
        prepared,
        one.only_version,
        sourced=sourced,
        provided=one.provided,
    )


def decision_of(  # noqa: PLR0911 -- one for each thing that a write can mean
    write: Write, current: Mapping[str, Any] | None, context: WriteContext, *, arrival: bool = False
) -> Decision:
    """Decide what a write means for the current document; with `arrival`, equal source times go by the
    arrival.
    """
    now, policy = context.now, context.policy(write.tenant)
    # What has expired is as good as deleted: nobody can read it any more.
    deleted = bool(current and (current.get("deleted") or current["expires_at"] <= now))
    version = current["version"] if current else 0
    updated = _moment(current, now)
    replaces = standing(current) if current else None
    number = next_version(current)
    if not version_matches(write.only_version, None if deleted or not current else version):
        issue = _NONE_THERE if write.only_version == ANY_VERSION else _OTHER_VERSION
        return Decision(None if write.retiring is not None else ServiceError(Category.PRECONDITION, issue))
    if write.prepared is None:
        return _deletion(write, current, context, deleted=deleted)
    if current and write.prepared.only_once:
        return Decision(PutResult(Outcome.EXISTS, Stored(write.key, version, updated_of(current), b"")))
    if current and not deleted:
        before = updated_of(current)
        if write.prepared.only_absent:
            return Decision(PutResult(Outcome.EXISTS, Stored(write.key, version, before, b"")))
        if current["digest"] == write.prepared.digest:
            same = Stored(write.key, version, before, write.prepared.body.stamp(version, before))
            return Decision(
                PutResult(Outcome.UNCHANGED, same), None, replaces, confirmed(current, write.prepared)
            )
    refused = _refusal(write.prepared, current, deleted=deleted) if current else None
    if refused is not None:
        return Decision(refused)
    revives = write.prepared.revives
    if revives is not None and not awaits(current, revives):
        return Decision(None)
    as_it_was = revives is not None or write.prepared.restores
    if not as_it_was and current and is_late(current, write.prepared, deleted=deleted, arrival=arrival):
        return Decision(None, late=True)
    # What comes back after its end is another: what needed it then says nothing of it.
    needed = current.get("needed_until") if current and not deleted else None
    document = to_document(write.tenant, write.prepared, number, updated, policy=policy, needed=needed)
    # What comes back is as old as it was: its time is not that of what had let it go.
    before_it = current if revives is None else None
    document |= carried(
        before_it,
        write.prepared.sourced,
        companion=write.prepared.companion,
        restored=write.prepared.restores,
    )
    document |= kept_evidence(write.prepared, document, current, deleted=deleted)
    leaves = parted(write.prepared.identity, current, deleted=deleted)
    document |= kept_kin(document, () if leaves else kin_of(current)) | context.marks
    if len(document["raw"]) > _SURELY_FITS and len(bson.encode(document)) > DOCUMENT_BYTES_MAX:
        # Found out by the driver, it would fail the whole group.
        return Decision(ServiceError(Category.TOO_LARGE, _TOO_LARGE))
    outcome = Outcome.REPLACED if current and not deleted else Outcome.CREATED
    if outcome is Outcome.CREATED:
        document["created_by"] = "POST" if write.prepared.posted else "PUT"
    stored = Stored(write.key, number, updated_of(document), document["raw"])
    return Decision(PutResult(outcome, stored), document, replaces, parts=leaves)


def evidence_of(current: Mapping[str, Any] | None, now: datetime) -> Mapping[str, Any] | None:
    """Stored evidence of who a resource is, with what `Known` has beside it; None: it is gone for good."""
    if current is None or current["expires_at"] <= now:
        return None
    evidence: Mapping[str, Any] | None = current.get("identity")
    if evidence is not None:
        return {**evidence, "sourced": current.get("sourced", ""), "arrived": current["updated"]["lo"]}
    return None if current.get("deleted") else {}


def overtaken(write: Write) -> Decision:
    """Decision on a write meant for somebody whom the record no longer is; a deletion does nothing."""
    refused = ServiceError(Category.PRECONDITION, ANOTHER_BY_NOW)
    return Decision(None if write.prepared is None else refused)


def _deletion(
    write: Write, current: Mapping[str, Any] | None, context: WriteContext, *, deleted: bool
) -> Decision:
    """Decide what a deletion means for the current document."""
    if current is None or deleted:
        return Decision(Gone(write.key, current["version"], updated_of(current)) if current else None)
    if write.retiring is not None and not (current.get("companion") or write.alone):
        return Decision(None)
    # The first evidence is all that is known of a deletion.
    if write.sourced and current.get("sourced", "").partition(" ")[0] > write.sourced:
        return Decision(None)
    number, updated = next_version(current), _moment(current, context.now)
    gone = Gone(write.key, number, updated)
    until = context.policy(write.tenant).superseded_until(context.now)
    tombstone = to_tombstone(write.tenant, write.key, number, updated, until)
    # A retired companion's tombstone says so: its last message, sent again, must not bring it back.
    left = {**current, "companion": True} if write.retiring is not None else current
    extras = carried(left, write.retiring or write.sourced, companion=write.retiring is not None)
    extras |= {"kin": kin} if (kin := kin_of(current)) else {}
    identity = current.get("identity") if write.retiring is not None else None
    if identity and "keys" in identity:  # What is pushed by itself later finds it again, and it comes back.
        extras |= {"identity": identity, "keys": identity["keys"]}
    return Decision(gone, {**tombstone, **extras}, standing(current))


def _moment(current: Mapping[str, Any] | None, now: datetime) -> datetime:
    """Moment of the next version: strictly later than the one before, whatever the clocks say."""
    return max(now, latest_of(current) + timedelta(milliseconds=1)) if current else now


def held(decision: Decision, current: Mapping[str, Any] | None, now: datetime) -> Decision:
    """Decision for a transaction, in which an unchanged companion or Patient is written all the same.

    Who retires the one, or gives the other another number, then meets a write conflict: the transaction
    cannot see it, and files its reports there.
    """
    result = decision.result
    if not isinstance(result, PutResult) or result.outcome is not Outcome.UNCHANGED or current is None:
        return decision
    if not current.get("companion") and result.stored.key.type != "Patient":
        return decision
    return decision._replace(touch={**(decision.touch or {}), "held_at": now})


def changing_among(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """Decisions that write something."""
    return {
        name: decision
        for name, decision in decisions.items()
        if decision.document is not None or decision.touch
    }


def superseding_among(changing: Mapping[str, Decision]) -> list[str]:
    """`_id` of the documents whose version is superseded."""
    return [n for n, decision in changing.items() if decision.document is not None and decision.replaces]


def operation_of(
    name: str, decision: Decision
) -> InsertOne[Mapping[str, Any]] | ReplaceOne[Mapping[str, Any]] | UpdateOne:
    """Driver's operation for a decision: it fails with a duplicate key when somebody else was faster.

    A touch does nothing then.
    """
    if decision.touch:
        return UpdateOne({"_id": name, **(decision.replaces or {})}, {"$set": decision.touch})
    document = decision.document or {}
    if decision.replaces is None:
        return InsertOne(document)
    # When the version has moved on, the filter finds nothing and the upsert meets the `_id` that is there.
    return ReplaceOne({"_id": name, **decision.replaces}, document, upsert=True)


def failure_of(error: Mapping[str, Any]) -> ServiceError:
    """Reason for which the server did not do a write: somebody was faster, or it refused."""
    if error["code"] == DUPLICATE_KEY:
        return RACED
    refused = ServiceError(Category.FAULT, Issue("exception", "the database refused a write"))
    return passing_failure(error["code"]) or refused
