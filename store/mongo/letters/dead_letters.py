"""`DeadLetters` on MongoDB: a document per letter, its body compressed in it or, when large, in pieces.

dead_letters        _id (UUID), tenant, at, last_at, times, state, digest (open ones only), … , body | pieces
dead_letter_bodies  _id "set/n", letter, set, data: pieces are written before the letter that names their set
Both carry `expires_at`, by which the sweep deletes them; count and bytes are trimmed behind the writes.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from typing_extensions import override

from store.dead_letters import DeadLetters, Event, Letter, Letters, State
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import DEAD_LETTERS
from store.mongo.letters.bodies import INLINE_BYTES_MAX, Bodies, beside, pack
from store.mongo.letters.documents import (
    digest_of,
    document_of,
    issues_of,
    letter_of,
    letter_until,
    noted,
    position_after,
    position_of,
)
from store.mongo.letters.keeping import Keeping, KeptRefusal
from store.mongo.letters.trimming import Trimming
from store.mongo.retention.holds import MongoHolds
from store.mongo.rules.erased_names import ErasedNames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from store.dead_letters import Refused
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.rules.policies import Policies
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_HELD: Final = Issue(
    "conflict",
    "the tenant is held (`dod retention hold list`): what it was sent is neither discarded nor replaced;"
    " replay the letter, or have the sender push anew",
)
_WITHOUT_BODY: Final = {"body": 0}
_INLINE: Final = {"body": 1, "pieces": 1, "set": 1}


class MongoDeadLetters(DeadLetters):
    """The port's verbs on one database."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
    ) -> None:
        self._policies = policies
        self._erasures = ErasedNames(
            database, settings=settings, clock=clock, metrics=metrics, policies=policies
        )
        self._seconds = settings.store_timeout_seconds
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._letters: Collection = durable(database, DEAD_LETTERS)
        self._bodies = Bodies(database)
        self._in_transaction = database[DEAD_LETTERS]
        self._holds = MongoHolds(database, settings=settings, metrics=metrics)
        self._trimming = Trimming(database, settings=settings, clock=clock, metrics=metrics)
        self._keeping = Keeping(database, settings=settings, metrics=metrics)

    # --- keeping

    @override
    async def keep(self, tenant: Tenant, refused: Refused) -> str:
        await self._erasures.admit_letter(tenant, refused.body, refused.path, refused.headers.values())
        body = refused.body if len(refused.body) <= self._settings.dead_letter_bytes_max else None
        digest = await beside(digest_of, refused, size=len(refused.body))
        packed = None if body is None else await beside(pack, body, size=len(body))
        end = await self._end(tenant, refused.at)
        again = {"$inc": {"times": 1}, "$set": {"last_at": refused.at, "expires_at": end}}
        same = {"tenant": str(tenant), "digest": digest, "state": State.OPEN.value}
        known = await self._again(same, again, packed)
        if known is not None:
            return known
        letter_id = str(uuid4())
        kept = {
            "_id": letter_id,
            **document_of(refused),
            "size": len(refused.body),
            "kept": len(packed or b""),
        }
        with self._guarded():
            kept |= await self._bodies.place(letter_id, packed, tenant, end)
        done = await self._keeping.submit(KeptRefusal(same, again, kept))
        if done != letter_id and kept.get("pieces"):
            with self._guarded():
                await self._bodies.drop(letter_id)
        if done == letter_id:
            self._trimming.note(tenant, kept["kept"])
        return done

    def _guarded(self) -> AbstractContextManager[None]:
        return guarded(self._metrics, "keep_dead_letter", seconds=self._seconds)

    async def _again(
        self, same: Mapping[str, Any], again: Mapping[str, Any], packed: bytes | None
    ) -> str | None:
        """The letter that a large body has already: its pieces need not be written first."""
        if packed is None or len(packed) <= INLINE_BYTES_MAX:
            return None
        with self._guarded():
            return _id(await self._letters.find_one_and_update(same, again, {"_id": 1}))

    async def _end(self, tenant: Tenant, at: datetime) -> datetime:
        policy = (await self._policies.remembered(tenant)).policy
        return letter_until(at, policy, self._settings)

    # --- reading

    @override
    async def get(self, tenant: Tenant, letter_id: str) -> Letter | None:
        with guarded(self._metrics, "dead_letter", seconds=self._seconds):
            document = await self._letters.find_one(self._one(tenant, letter_id), _WITHOUT_BODY)
        return None if document is None else letter_of(document)

    @override
    async def body(self, tenant: Tenant, letter_id: str) -> bytes | None:
        with guarded(self._metrics, "dead_letter_body", seconds=self._seconds):
            document = await self._letters.find_one(self._one(tenant, letter_id), _INLINE)
            if document is None:
                return None
            packed = await self._bodies.packed(tenant, document)
        return None if packed is None else await beside(zlib.decompress, packed, size=len(packed))

    @override
    async def listed(
        self,
        tenant: Tenant,
        *,
        state: State | None = State.OPEN,
        reason: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Letters:
        wanted: dict[str, Any] = {"tenant": str(tenant), "expires_at": {"$gt": self._clock()}}
        if state is not None:
            wanted["state"] = state.value
        if reason is not None:
            wanted["issues.code"] = reason
        if after is not None:
            at, letter_id = position_of(after)
            wanted["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": letter_id}}]
            wanted["at"] = {"$lte": at}  # Implied; it bounds the scan.
        with guarded(self._metrics, "dead_letters", seconds=self._seconds):
            found = await self._letters.find(
                wanted, _WITHOUT_BODY, sort=[("at", -1), ("_id", -1)], limit=limit + 1, hint="newest"
            ).to_list(None)
        letters = tuple(map(letter_of, found[:limit]))
        return Letters(letters, position_after(letters[-1]) if len(found) > limit else None)

    @override
    async def count_open(self, *, limit: int) -> int:
        wanted = {"digest": {"$exists": True}}
        with guarded(self._metrics, "count_dead_letters", seconds=self._seconds):
            return await self._letters.count_documents(wanted, limit=limit, hint="open")

    def _one(self, tenant: Tenant, letter_id: str) -> dict[str, Any]:
        return {"_id": letter_id, "tenant": str(tenant), "expires_at": {"$gt": self._clock()}}

    # --- dealing with one

    @override
    async def replace_body(self, tenant: Tenant, letter: Letter, body: bytes, event: Event) -> bool:
        await self._erasures.admit_letter(tenant, body)
        packed = await beside(pack, body, size=len(body))
        end, revision = await self._end(tenant, letter.last_at), letter.revision + 1
        with guarded(self._metrics, "fix_dead_letter", seconds=self._seconds):
            placed = await self._bodies.place(letter.id, packed, tenant, end)
            changed: dict[str, Any] = {**placed, "size": len(body), "kept": len(packed), "revision": revision}
            # A digest of its own: what the sender sends again is the old body, and another letter.
            changed["digest"] = f"fixed {letter.id} {revision}"
            before = None
            try:
                before = await self._change_unless_held(tenant, letter, {"$set": changed}, event)
            finally:
                left = placed["set"] if before is None else before["set"]
                if left is not None:
                    await self._bodies.drop(letter.id, left)
        return before is not None

    @override
    async def close(self, tenant: Tenant, letter: Letter, state: State, event: Event) -> bool:
        # Path and headers can hold what a patient is known by; what stays is a record without payload.
        gone: dict[str, Any] = {
            "body": None,
            "pieces": 0,
            "kept": 0,
            "state": state.value,
            "path": "",
            "headers": {},
        }
        attempt = {"$inc": {"attempts": 1}} if state is State.REPLAYED else {}
        # What was replayed is stored, and held there.
        change = self._change if state is State.REPLAYED else self._change_unless_held
        with guarded(self._metrics, "close_dead_letter", seconds=self._seconds):
            done = await change(tenant, letter, {"$set": gone, "$unset": {"digest": ""}, **attempt}, event)
            if done is not None:
                await self._bodies.drop(letter.id)
        return done is not None

    @override
    async def refused_again(
        self, tenant: Tenant, letter: Letter, status: int, issues: tuple[Issue, ...], event: Event
    ) -> bool:
        reasons = {"$set": {"status": status, "issues": issues_of(issues)}, "$inc": {"attempts": 1}}
        with guarded(self._metrics, "refuse_dead_letter", seconds=self._seconds):
            return await self._change(tenant, letter, reasons, event) is not None

    @override
    async def seen(self, tenant: Tenant, letter: Letter, event: Event) -> None:
        with guarded(self._metrics, "see_dead_letter", seconds=self._seconds):
            await self._letters.update_one(self._one(tenant, letter.id), noted(event))

    async def _change(
        self, tenant: Tenant, letter: Letter, change: Mapping[str, Any], event: Event
    ) -> Mapping[str, Any] | None:
        """Change an open letter whose body is still the one that was looked at; the set it had, or None."""
        return await self._letters.find_one_and_update(
            self._still(tenant, letter), {**change, **noted(event)}, {"set": 1}
        )

    async def _change_unless_held(
        self, tenant: Tenant, letter: Letter, change: Mapping[str, Any], event: Event
    ) -> Mapping[str, Any] | None:
        """Change a letter whose body goes by it. Raises ServiceError `conflict` when the tenant is held."""
        before: Mapping[str, Any] | None = None

        async def within(session: Session) -> None:
            nonlocal before
            before = await self._in_transaction.find_one_and_update(
                self._still(tenant, letter), {**change, **noted(event)}, {"set": 1}, session=session
            )

        if not await self._holds.unless_held(tenant, self._clock(), within):
            raise ServiceError(Category.CONFLICT, _HELD)
        return before

    def _still(self, tenant: Tenant, letter: Letter) -> dict[str, Any]:
        """Filter for a letter that is open and has the body that was looked at."""
        return {
            **self._one(tenant, letter.id),
            "state": State.OPEN.value,
            "revision": letter.revision,
        }

    @override
    async def drain(self) -> None:
        await self._keeping.drain()
        await self._trimming.drain()


def _id(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else str(document["_id"])
