"""`DeadLetters` on MongoDB: a document per letter, its body compressed in it or, when large, in pieces.

dead_letters        _id (UUID), tenant, at, last_at, times, state, digest (open ones only), … , body | pieces
dead_letter_bodies  _id "set/n", letter, set, data: pieces are written before the letter that names their set
Both carry `expires_at`, by which the sweep deletes them; count and bytes are trimmed behind the writes.
"""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

import orjson
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from typing_extensions import override

from store.dead_letters import DeadLetters, Event, Letter, Letters, State
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS
from store.mongo.retention.holds import MongoHolds
from store.mongo.rules.erased_names import ErasedNames
from store.retention.erased_names import refusal
from store.retention.policy import after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from store.dead_letters import Refused
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.rules.policies import Policies
    from store.retention.policy import Policy
    from store.settings import StoreSettings
    from store.tenancy import Tenant

INLINE_BYTES_MAX: Final = 1_000_000
"""Largest compressed body that is kept in the letter: one write, as for almost all of them."""
PIECE_BYTES: Final = 8_000_000
"""Of a larger one; MongoDB's document limit is 16 MB."""
THREAD_BYTES: Final = 64_000
"""Bodies above are compressed beside the event loop: a megabyte takes about 15 ms."""
COMPRESSION: Final = 1
"""The quickest level: JSON shrinks to a fifth."""
EVENTS_MAX: Final = 20
ISSUES_MAX: Final = 100
"""Reasons kept of one letter: a Bundle with 5,000 faulty entries need not repeat each."""
TRIM_SHARE: Final = 100
"""Trimming starts when a tenant may be over its bounds by one part in so many."""
TRIM_BATCH: Final = 500
_WITHOUT_BODY: Final = {"body": 0}
_INLINE: Final = {"body": 1, "pieces": 1, "set": 1}


class _Keeping(NamedTuple):
    """One refusal on its way: which open letter it may be already, how that changes, what a new one is."""

    same: Mapping[str, Any]
    again: Mapping[str, Any]
    kept: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Two of one name are one letter, and go one after the other."""
        return f"{self.same['tenant']} {self.same['digest']}"

    @property
    def size(self) -> int:
        """Bytes of the body in the letter; pieces are written before."""
        return len(self.kept["body"] or b"")

    @property
    def change(self) -> dict[str, Any]:
        """The upsert."""
        return {**self.again, "$setOnInsert": self.kept}


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
        self._bodies: Collection = durable(database, DEAD_LETTER_BODIES)
        self._plain: tuple[Collection, Collection] = (database[DEAD_LETTERS], database[DEAD_LETTER_BODIES])
        self._holds = MongoHolds(database, settings=settings, metrics=metrics)
        self._untrimmed: dict[Tenant, tuple[int, int]] = {}
        """Tenant → letters and bytes since it was last trimmed. Absent: not since this process started."""
        self._trims: dict[Tenant, asyncio.Task[None]] = {}
        self._commits: GroupCommit[_Keeping, str] = GroupCommit(
            self._commit, same=lambda one: one.name, size=lambda one: one.size, settings=settings
        )

    # --- keeping

    @override
    async def keep(self, tenant: Tenant, refused: Refused) -> str:
        if await self._erasures.mentions(tenant, refused.body, refused.path):
            raise refusal()
        body = refused.body if len(refused.body) <= self._settings.dead_letter_bytes_max else None
        digest = await _beside(_digest, refused, size=len(refused.body))
        packed = None if body is None else await _beside(_pack, body, size=len(body))
        end = await self._end(tenant, refused.at)
        again = {"$inc": {"times": 1}, "$set": {"last_at": refused.at, "expires_at": end}}
        same = {"tenant": str(tenant), "digest": digest, "state": State.OPEN.value}
        known = await self._again(same, again, packed)
        if known is not None:
            return known
        letter_id = str(uuid4())
        kept = {
            "_id": letter_id,
            **_document(refused),
            "size": len(refused.body),
            "kept": len(packed or b""),
        }
        with self._guarded():
            kept |= await self._put_body(letter_id, packed, tenant, end)
        [done] = await self._commits.submit([_Keeping(same, again, kept)])
        if done != letter_id and kept.get("pieces"):
            with self._guarded():
                await self._bodies.delete_many({"letter": letter_id})
        if done == letter_id:
            self._trim_sometimes(tenant, kept["kept"])
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

    async def _commit(self, works: Sequence[_Keeping]) -> list[str]:
        """The ids of the letters that these are, or became."""
        with self._guarded():
            ids = await self._upsert_together(works) if len(works) > 1 else {}
            for number, work in enumerate(works):
                if number not in ids:
                    ids[number] = await self._upsert(work)
        return [ids[number] for number in range(len(works))]

    async def _upsert_together(self, works: Sequence[_Keeping]) -> dict[int, str]:
        """The same in one write; left out are those that somebody else kept, or closed, meanwhile."""
        operations = [UpdateOne(one.same, one.change, upsert=True) for one in works]
        try:
            done: Mapping[str, Any] = (
                await self._letters.bulk_write(operations, ordered=False)
            ).bulk_api_result
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            done = error.details
        ids = {one["index"]: str(one["_id"]) for one in done["upserted"]}
        failed = {error["index"] for error in done["writeErrors"]}
        old = {n: one.same for n, one in enumerate(works) if n not in ids and n not in failed}
        if old:
            found = await self._letters.find({"$or": list(old.values())}, {"tenant": 1, "digest": 1}).to_list(
                None
            )
            named = {(one["tenant"], one["digest"]): str(one["_id"]) for one in found}
            names = {number: (same["tenant"], same["digest"]) for number, same in old.items()}
            ids |= {number: named[name] for number, name in names.items() if name in named}
        return ids

    async def _upsert(self, work: _Keeping) -> str:
        try:
            return await self._upsert_once(work)
        except DuplicateKeyError:  # A twin came first; it is there now.
            return await self._upsert_once(work)

    async def _upsert_once(self, work: _Keeping) -> str:
        document = await self._letters.find_one_and_update(
            work.same, work.change, {"_id": 1}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return str(document["_id"])

    async def _put_body(
        self, letter_id: str, packed: bytes | None, tenant: Tenant, end: datetime
    ) -> dict[str, Any]:
        """Where the body is, as the letter says it; pieces are written here."""
        if packed is None:
            return {"body": None, "pieces": 0, "set": None}
        if len(packed) <= INLINE_BYTES_MAX:
            return {"body": packed, "pieces": 0, "set": None}
        # A name of its own: two who fix one letter at once must not write into one another's pieces.
        own = str(uuid4())
        pieces = [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]
        for number, data in enumerate(pieces):
            await self._bodies.insert_one(
                {
                    "_id": f"{own}/{number}",
                    "letter": letter_id,
                    "set": own,
                    "tenant": str(tenant),
                    "expires_at": end,
                    "data": data,
                }
            )
        return {"body": None, "pieces": len(pieces), "set": own}

    async def _end(self, tenant: Tenant, at: datetime) -> datetime:
        policy = (await self._policies.remembered(tenant)).policy
        return letter_until(at, policy, self._settings)

    # --- reading

    @override
    async def get(self, tenant: Tenant, letter_id: str) -> Letter | None:
        with guarded(self._metrics, "dead_letter", seconds=self._seconds):
            document = await self._letters.find_one(self._one(tenant, letter_id), _WITHOUT_BODY)
        return None if document is None else _letter(document)

    @override
    async def body(self, tenant: Tenant, letter_id: str) -> bytes | None:
        with guarded(self._metrics, "dead_letter_body", seconds=self._seconds):
            document = await self._letters.find_one(self._one(tenant, letter_id), _INLINE)
            if document is None:
                return None
            packed: bytes | None = document["body"]
            if document["pieces"]:
                names = [f"{document['set']}/{n}" for n in range(document["pieces"])]
                found = await self._bodies.find({"_id": {"$in": names}, "tenant": str(tenant)}).to_list(None)
                if len(found) != len(names):  # Closed, or changed, between the two reads.
                    return None
                data = {piece["_id"]: piece["data"] for piece in found}
                packed = b"".join(data[name] for name in names)
        return None if packed is None else await _beside(zlib.decompress, packed, size=len(packed))

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
            at, letter_id = _position(after)
            wanted["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": letter_id}}]
            wanted["at"] = {"$lte": at}  # Implied; it bounds the scan.
        with guarded(self._metrics, "dead_letters", seconds=self._seconds):
            found = await self._letters.find(
                wanted, _WITHOUT_BODY, sort=[("at", -1), ("_id", -1)], limit=limit + 1, hint="newest"
            ).to_list(None)
        letters = tuple(map(_letter, found[:limit]))
        return Letters(letters, _after(letters[-1]) if len(found) > limit else None)

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
        if await self._erasures.mentions(tenant, body):
            raise refusal()
        packed = await _beside(_pack, body, size=len(body))
        end, revision = await self._end(tenant, letter.last_at), letter.revision + 1
        with guarded(self._metrics, "fix_dead_letter", seconds=self._seconds):
            placed = await self._put_body(letter.id, packed, tenant, end)
            changed: dict[str, Any] = {**placed, "size": len(body), "kept": len(packed), "revision": revision}
            # A digest of its own: what the sender sends again is the old body, and another letter.
            changed["digest"] = f"fixed {letter.id} {revision}"
            before = await self._change(tenant, letter, {"$set": changed}, event)
            left = placed["set"] if before is None else before["set"]
            if left is not None:
                await self._bodies.delete_many({"letter": letter.id, "set": left})
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
        with guarded(self._metrics, "close_dead_letter", seconds=self._seconds):
            done = await self._change(
                tenant, letter, {"$set": gone, "$unset": {"digest": ""}, **attempt}, event
            )
            if done is not None:
                await self._bodies.delete_many({"letter": letter.id})
        return done is not None

    @override
    async def refused_again(
        self, tenant: Tenant, letter: Letter, status: int, issues: tuple[Issue, ...], event: Event
    ) -> bool:
        reasons = {"$set": {"status": status, "issues": _issues(issues)}, "$inc": {"attempts": 1}}
        with guarded(self._metrics, "refuse_dead_letter", seconds=self._seconds):
            return await self._change(tenant, letter, reasons, event) is not None

    @override
    async def seen(self, tenant: Tenant, letter: Letter, event: Event) -> None:
        with guarded(self._metrics, "see_dead_letter", seconds=self._seconds):
            await self._letters.update_one(self._one(tenant, letter.id), _noted(event))

    async def _change(
        self, tenant: Tenant, letter: Letter, change: Mapping[str, Any], event: Event
    ) -> Mapping[str, Any] | None:
        """Change an open letter whose body is still the one that was looked at; the set it had, or None."""
        wanted = {
            **self._one(tenant, letter.id),
            "state": State.OPEN.value,
            "revision": letter.revision,
        }
        return await self._letters.find_one_and_update(wanted, {**change, **_noted(event)}, {"set": 1})

    # --- bounds

    def _trim_sometimes(self, tenant: Tenant, size: int) -> None:
        """Trim the tenant in the background when it may be over its bounds."""
        letters, total = self._untrimmed.get(tenant, (self._settings.dead_letters_max, 0))
        self._untrimmed[tenant] = (letters + 1, total + size)
        due = (
            letters + 1 >= self._settings.dead_letters_max // TRIM_SHARE
            or total + size >= self._settings.dead_letters_bytes_max // TRIM_SHARE
        )
        if due and tenant not in self._trims:
            self._untrimmed[tenant] = (0, 0)
            self._trims[tenant] = asyncio.ensure_future(self._trim_quietly(tenant))

    async def _trim_quietly(self, tenant: Tenant) -> None:
        try:
            await self._trim(tenant)
        except ServiceError:
            self._untrimmed.pop(tenant, None)  # The next letter tries again; the guard has counted it.
        finally:
            del self._trims[tenant]

    async def _trim(self, tenant: Tenant) -> None:
        """Delete the oldest letters beyond the bounds, unless the tenant is held."""
        with guarded(self._metrics, "trim_dead_letters", seconds=self._seconds):
            # Answered from the index: ids and sizes, newest first.
            heads = await self._letters.find(
                {"tenant": str(tenant)}, {"_id": 1, "kept": 1}, sort=[("at", -1), ("_id", -1)], hint="newest"
            ).to_list(None)
        surplus = _surplus(
            heads, count=self._settings.dead_letters_max, size=self._settings.dead_letters_bytes_max
        )
        for start in range(0, len(surplus), TRIM_BATCH):
            batch = surplus[start : start + TRIM_BATCH]
            delete = partial(self._delete, tenant, batch)
            if not await self._holds.unless_held(tenant, self._clock(), delete):
                return  # As the sweep: what is held is kept, however much it is.

    async def _delete(self, tenant: Tenant, ids: Sequence[str], session: Session) -> None:
        letters, bodies = self._plain
        await letters.delete_many({"_id": {"$in": ids}, "tenant": str(tenant)}, session=session)
        await bodies.delete_many({"letter": {"$in": ids}}, session=session)

    @override
    async def drain(self) -> None:
        await self._commits.drain()
        while self._trims:
            await asyncio.wait(list(self._trims.values()))


def _id(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else str(document["_id"])


def letter_until(at: datetime, policy: Policy, settings: StoreSettings) -> datetime:
    """When a letter that last came then is forgotten."""
    days = settings.dead_letter_days if policy.dead_letter_days is None else policy.dead_letter_days
    return after(at, days)


def _surplus(heads: Sequence[Mapping[str, Any]], *, count: int, size: int) -> list[str]:
    """The ids from the first one on, newest first, with which a bound is passed."""
    total = 0
    for number, head in enumerate(heads):
        total += head["kept"]
        if number >= count or total > size:
            return [one["_id"] for one in heads[number:]]
    return []


async def _beside(work: Callable[..., Any], *given: Any, size: int) -> Any:  # noqa: ANN401 (any work)
    """What comes of the work: done beside the event loop when it is more than a moment's."""
    return await asyncio.to_thread(work, *given) if size > THREAD_BYTES else work(*given)


def _pack(body: bytes) -> bytes:
    return zlib.compress(body, COMPRESSION)


def _digest(refused: Refused) -> str:
    """What makes two pushes the same letter: who sent what, how and where."""
    head = [refused.client, refused.method, refused.path, sorted(refused.headers.items()), refused.origin]
    return sha256(orjson.dumps(head) + refused.body).hexdigest()


def _document(refused: Refused) -> dict[str, Any]:
    return {
        "at": refused.at,
        "operation": refused.operation,
        "method": refused.method,
        "path": refused.path,
        "headers": dict(refused.headers),
        "origin": refused.origin,
        "client": refused.client,
        "token_id": refused.token_id,
        "scopes": [[name, "".join(sorted(letters))] for name, letters in refused.scopes.items()],
        "status": refused.status,
        "issues": _issues(refused.issues),
        "attempts": 0,
        "revision": 0,
        "events": [],
    }


def _issues(issues: tuple[Issue, ...]) -> list[dict[str, Any]]:
    return [
        {"code": one.code, "text": one.text, "expression": list(one.expression), "severity": one.severity}
        for one in issues[:ISSUES_MAX]
    ]


def _noted(event: Event) -> dict[str, Any]:
    one = {"at": event.at, "by": event.by, "did": event.did}
    return {"$push": {"events": {"$each": [one], "$slice": -EVENTS_MAX}}}


def _letter(document: Mapping[str, Any]) -> Letter:
    return Letter(
        id=document["_id"],
        at=document["at"],
        last_at=document["last_at"],
        times=document["times"],
        operation=document["operation"],
        method=document["method"],
        path=document["path"],
        headers=document["headers"],
        origin=document["origin"],
        client=document["client"],
        token_id=document["token_id"],
        scopes={name: frozenset(letters) for name, letters in document["scopes"]},
        status=document["status"],
        issues=tuple(
            Issue(one["code"], one["text"], tuple(one["expression"]), one["severity"])
            for one in document["issues"]
        ),
        size=document["size"],
        has_body=document["kept"] > 0,
        attempts=document["attempts"],
        revision=document["revision"],
        state=State(document["state"]),
        events=tuple(Event(one["at"], one["by"], one["did"]) for one in document["events"]),
    )


def _after(letter: Letter) -> str:
    """Where a page ended: milliseconds, as MongoDB keeps them, and the id. Nothing of it is secret."""
    return f"{round(letter.at.timestamp() * 1000)}~{letter.id}"


def _position(after: str) -> tuple[datetime, str]:
    moment, tilde, letter_id = after.partition("~")
    try:
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(moment))
    except (ValueError, OverflowError):
        at, tilde = datetime.fromtimestamp(0, UTC), ""
    if not tilde:
        raise ServiceError(Category.INCORRECT, Issue("value", "`after` is not from a page", ("after",)))
    return at, letter_id
