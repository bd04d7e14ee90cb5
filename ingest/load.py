"""Loads bodies from files: each goes the way of a push by HTTP, and again while MongoDB is away.

A body may be loaded any number of times: what has no id gets one from its content, so that the same again is
the same resource.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from typing_extensions import override

from ingest import delivery, push
from ingest.bundles import entries_of, relative
from ingest.claims import Claims, claims, differ
from ingest.decode import decode
from ingest.files import pieces
from ingest.handlers import answer_bundle
from ingest.histories import read_history
from ingest.identity import stable_id
from ingest.messages import read_message, redirected
from ingest.metrics import IngestMetrics
from ingest.prepare import prepare
from ingest.stamp import dump
from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue
from store.fhir.references import ID
from store.resources import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.bundles import BundleEntry
    from ingest.files import Bounds, Piece, Source
    from ingest.histories import Version
    from ingest.journal import Journal
    from ingest.push import Pusher
    from store.fhir.datatypes import Json, JsonObject

AGAIN: Final = frozenset({Category.UNAVAILABLE, Category.TIMEOUT})
"""Failures that are nothing of the body's: it is pushed again."""
PAUSE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 600.0
"""How long one body is tried while the database is away."""
EARLY_BYTES_MAX: Final = 256_000_000
"""Of bodies that wait for what they refer to; past it they are refused, and the next run tries them."""
READ_AHEAD_BYTES: Final = 1_000_000
READ_AHEAD_PIECES: Final = 200
"""What the reading thread takes in one turn."""
YIELDS_OVER: Final = 1.5
"""A backfill rests when a push takes so many times as long as the quickest ones do."""

_NO_BASE: Final = Issue(
    "required", "it may refer to this service by an absolute URL, so `--base-url` must name its base"
)


class Operator:
    """Who holds the database in hand may write everything."""

    client = "dod load"
    token_id = "operator"  # noqa: S105 -- no token at all
    scopes: Mapping[str, frozenset[str]] = MappingProxyType({"*": frozenset("cruds")})
    is_admin = True

    def may(self, type: str, letters: str) -> bool:  # noqa: ARG002 -- the shape of a Caller
        """Yes."""
        return True


class Tally(IngestMetrics):
    """Counts what becomes of the resources of one body, where the service counts for Prometheus."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @override
    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource."""
        self.counts[outcome] += 1


class Refusal(NamedTuple):
    """What was not stored, and why. No value is in it."""

    where: str
    issues: tuple[Mapping[str, Any], ...]
    """`code`, `text`, `expression`."""


class Result(NamedTuple):
    """What became of one body."""

    counts: Counter[str]
    refusals: tuple[Refusal, ...] = ()

    @property
    def early(self) -> bool:
        """Whether nothing of it was stored only because what it refers to by a condition is not there yet."""
        issues = [issue for one in self.refusals for issue in one.issues]
        return self.counts.keys() == {"refused"} and all(issue["code"] == "not-found" for issue in issues)


class Work(NamedTuple):
    """One body to load."""

    name: str
    """Of its file, in the journal."""
    piece: Piece
    body: bytes
    claims: Claims


class Watcher(Protocol):
    """Who is told as a load goes on."""

    def loaded(self, piece: Piece, result: Result) -> None:
        """One body is done with."""

    def passed(self, piece: Piece) -> None:
        """One body was stored by an earlier run."""


@dataclass(slots=True)
class Load:
    """What to load, how, and whom to tell."""

    to: Pusher
    bounds: Bounds
    concurrency: int
    bytes_max: int
    """Of bodies under way."""
    journal: Journal | None
    watcher: Watcher
    backfill: bool = False
    dry_run: bool = False
    ours: bytes | None = None
    """Our own path, when the origin before it is not known: a body that holds it cannot be indexed right."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _under_way: dict[asyncio.Task[None], Claims] = field(default_factory=dict)
    _bytes: int = 0
    _retrying: asyncio.Lock = field(default_factory=asyncio.Lock)
    _quickest: float = float("inf")
    _early: list[Work] = field(default_factory=list)
    """Refused for want of what may be in a file that is still to come, and what must not overtake those."""

    async def run(self, files: Sequence[Source]) -> None:
        """Load all of them. Raises StartupError when the database stays away."""
        try:
            for source in files:
                await self._source(source)
            await self._room(0, all_done=True)
            await self._early_ones()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _source(self, source: Source) -> None:
        name = self.journal.name(source, str(self.to.tenant)) if self.journal else ""
        reading = pieces(source, self.bounds)
        while some := await asyncio.to_thread(_take, reading):
            for piece in some:
                if self.journal is not None and piece.body is not None and self.journal.holds(name, piece):
                    self.watcher.passed(piece)
                    continue
                if piece.body is None:
                    issue = {"code": "structure", "text": piece.fault, "expression": []}
                    self.watcher.loaded(piece, Result(Counter(refused=1), (Refusal(piece.where, (issue,)),)))
                    continue
                await self._start(Work(name, piece, piece.body, self._claims(piece.body)))

    def _claims(self, body: bytes) -> Claims:
        return {} if self.dry_run else claims(body)

    async def _start(self, work: Work) -> None:
        """One body, as soon as there is room for it and it overtakes none that writes the same otherwise."""
        await self._room(len(work.body), work.claims)
        if self._may_wait(work) and any(differ(work.claims, one.claims) for one in self._early):
            self._early.append(work)
            return
        self._bytes += len(work.body)
        task = asyncio.create_task(self._piece(work))
        self._under_way[task] = work.claims
        task.add_done_callback(self._done)

    async def _early_ones(self) -> None:
        """Those that came before what they refer to, in their order, as long as any of them gets in."""
        left, refused = len(self._early) + 1, list[tuple[Work, Result]]()
        while len(self._early) < left:
            left, waiting, self._early, refused = len(self._early), self._early, [], []
            for work in waiting:
                result = await self._result(work)
                if result.early:
                    self._early.append(work)
                    refused.append((work, result))
                else:
                    self._loaded(work, result)
        for work, result in refused:
            self._loaded(work, result)

    async def _room(self, size: int, mine: Claims = MappingProxyType({}), *, all_done: bool = False) -> None:
        """Wait until one more may start. While a body is tried again none does: order must stay."""
        while True:
            self._raise_failed()
            full = len(self._under_way) >= self.concurrency or self._bytes + size > self.bytes_max
            behind = any(differ(mine, other) for other in self._under_way.values())
            if not self._under_way or not (full or behind or all_done or self._retrying.locked()):
                return
            self._freed.clear()
            await self._freed.wait()

    def _raise_failed(self) -> None:
        for task in [one for one in self._under_way if one.done()]:
            self._under_way.pop(task)
            task.result()

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._under_way.pop(task, None)
        self._freed.set()

    async def _piece(self, work: Work) -> None:
        try:
            result = await self._result(work)
        finally:
            self._bytes -= len(work.body)
        if result.early and not self.dry_run and self._may_wait(work):
            self._early.append(work)
        else:
            self._loaded(work, result)

    def _may_wait(self, work: Work) -> bool:
        return len(work.body) <= EARLY_BYTES_MAX - sum(len(one.body) for one in self._early)

    def _loaded(self, work: Work, result: Result) -> None:
        if self.journal is not None and not result.refusals and not self.dry_run:
            self.journal.add(work.name, work.piece, result.counts)
        self.watcher.loaded(work.piece, result)

    async def _result(self, work: Work) -> Result:
        piece, body = work.piece, work.body
        if self.ours is not None and self.ours in body:
            error = ServiceError(Category.UNPROCESSABLE, _NO_BASE)
            return Result(Counter(refused=1), (refusal(piece.where, error),))
        if self.dry_run:
            return rehearsed(self.to, piece.where, body)
        started = monotonic()
        try:
            result = await pushed(self.to, piece.where, body)
        except ServiceError as error:
            if error.category not in AGAIN:
                raise
            result = await self._again(piece, body)
        if self.backfill:
            took = monotonic() - started
            await self.pause(rest(took, self._quickest))
            # Forgets slowly: what was quick in the night may never be again.
            self._quickest = min(took, self._quickest * 1.01)
        return result

    async def _again(self, piece: Piece, body: bytes) -> Result:
        """One after another in the order in which they failed, which is that of their files."""
        until = monotonic() + PATIENCE_SECONDS
        async with self._retrying:
            while monotonic() < until:
                await self.pause(PAUSE_SECONDS)
                try:
                    return await pushed(self.to, piece.where, body)
                except ServiceError as error:
                    if error.category not in AGAIN:
                        raise
        text = "The database stays away; when it is back, the same command goes on from here."
        raise StartupError(text)


def rest(took: float, quickest: float) -> float:
    """How long a backfill leaves the database to others: as long as they, it seems, made it wait."""
    return min(took - quickest, 1.0) if took > quickest * YIELDS_OVER else 0.0


def _take(reading: Iterator[Piece]) -> list[Piece]:
    """Some pieces, read in a thread."""
    taken: list[Piece] = []
    size = 0
    for piece in reading:
        taken.append(piece)
        size += len(piece.body or b"")
        if size >= READ_AHEAD_BYTES or len(taken) >= READ_AHEAD_PIECES:
            break
    return taken


# --- one body


async def pushed(to: Pusher, where: str, body: bytes) -> Result:
    """Push one body. Raises ServiceError when nothing is known of it and it must be pushed again."""
    tally = Tally()
    one = to._replace(metrics=tally)
    try:
        resource = decode(body)
        if resource.get("resourceType") != "Bundle":
            await push.update(one, *_placed(one, resource))
            return Result(tally.counts)
        refusals = await _way_of(resource)(one, Sent(resource, body, where))
    except ServiceError as error:
        if error.category in AGAIN:
            raise
        tally.counts["refused"] += 1
        return Result(tally.counts, (refusal(where, error),))
    return Result(tally.counts, refusals)


def _way_of(bundle: JsonObject) -> Way:
    way = _WAYS.get(str(bundle.get("type")))
    if way is None:
        text = f"`Bundle.type` is one of {', '.join(sorted(_WAYS))}"
        raise ServiceError(Category.UNPROCESSABLE, Issue("not-supported", text, ("Bundle.type",)))
    return way


class Sent(NamedTuple):
    """A Bundle as it came."""

    bundle: JsonObject
    body: bytes
    where: str


Way = Callable[["Pusher", Sent], Awaitable[tuple[Refusal, ...]]]


async def _message(to: Pusher, sent: Sent) -> tuple[Refusal, ...]:
    done = await delivery.message(to, sent.bundle)
    failed = ((n, one) for n, one in enumerate(done) if isinstance(one, ServiceError))
    return tuple(refusal(f"{sent.where}: entry {number}", error) for number, error in failed)


async def _interactions(to: Pusher, sent: Sent) -> tuple[Refusal, ...]:
    """A batch or transaction; what it creates is given an id, so that it is created once."""
    bundle, name = sent.bundle, _digest(sent.body)
    bundle = repeatable(bundle, to.base, lambda n: stable_id(to.tenant, f"load {name} {n}", to.secret))
    refusals = []
    for number, entry in enumerate(await answer_bundle(to, bundle, name=f"load {name}")):
        response = entry["response"]
        status = int(response["status"][:3])
        if status in (503, 504):
            raise ServiceError(Category.UNAVAILABLE)
        if status >= 400:  # noqa: PLR2004 (where HTTP splits)
            issues = tuple(_shown(issue) for issue in response["outcome"]["issue"])
            refusals.append(Refusal(f"{sent.where}: entry {number}", issues))
    return tuple(refusals)


def repeatable(bundle: JsonObject, base: str, new_id: Callable[[int], str]) -> JsonObject:
    """The same, where unconditional creates are updates under ids that are the same each time."""
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return bundle
    changed: list[Json] = []
    for number, entry in enumerate(entries):
        request = entry.get("request") if isinstance(entry, dict) else None
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if (
            isinstance(entry, dict)
            and isinstance(request, dict)
            and isinstance(resource, dict)
            and request.get("method") == "POST"
            and relative(str(request.get("url")), base) == resource.get("resourceType")
            and "ifNoneExist" not in request
        ):
            chosen = new_id(number)
            put: JsonObject = {"method": "PUT", "url": f"{resource['resourceType']}/{chosen}"}
            changed.append({**entry, "resource": {**resource, "id": chosen}, "request": put})
        else:
            changed.append(entry)
    return {**bundle, "entry": changed}


async def _upserts(to: Pusher, sent: Sent) -> tuple[Refusal, ...]:
    """A document, collection or searchset: each entry is put under its id, whatever becomes of the others."""
    entries = entries_of(sent.bundle, entries_max=to.settings.bundle_entries_max)
    placed: list[tuple[int, ResourceKey, JsonObject]] = []
    refusals: list[Refusal] = []

    def refused(number: int, error: ServiceError) -> None:
        to.metrics.count("refused")
        refusals.append(refusal(f"{sent.where}: entry {number}", error))

    for number, entry in enumerate(entries):
        if _is_remark(sent.bundle, entry):
            continue
        try:
            placed.append((number, *_placed_entry(to, entry)))
        except ServiceError as error:
            refused(number, error)
    targets = {
        entry.full_url: str(key)
        for entry, (number, key, _) in ((entries[one[0]], one) for one in placed)
        if entry.full_url is not None
    }
    # Reports last: whoever finds one finds what it refers to.
    placed.sort(key=lambda one: one[1].type == "DiagnosticReport")
    done = await asyncio.gather(
        *(push.update(to, key, redirected(resource, targets)) for _, key, resource in placed),
        return_exceptions=True,
    )
    for (number, _, _), result in zip(placed, done, strict=True):
        if isinstance(result, ServiceError) and result.category not in AGAIN:
            refused(number, result)
        elif isinstance(result, BaseException):
            raise result
    return tuple(sorted(refusals))


async def _history(to: Pusher, sent: Sent) -> tuple[Refusal, ...]:
    """The versions of each resource one after the other, the resources beside each other.

    They are put with their source's time, so that the same again, or an older history, changes nothing.
    """
    entries = entries_of(sent.bundle, entries_max=to.settings.bundle_entries_max)
    versions, unread = read_history(entries, now=to.clock())
    targets = {
        url: str(one.key)
        for several in versions.values()
        for one in several
        if (url := entries[one.number].full_url) is not None
    }
    refusals = [refusal(f"{sent.where}: entry {number}", error) for number, error in unread]
    for _ in unread:
        to.metrics.count("refused")

    async def follow(several: Sequence[Version]) -> None:
        for one in several:
            try:
                if one.resource is None:
                    await push.delete(to, one.key, sourced=one.sourced)
                else:
                    await push.update(to, one.key, redirected(one.resource, targets), sourced=one.sourced)
            except ServiceError as error:
                if error.category in AGAIN:
                    raise
                to.metrics.count("refused")
                refusals.append(refusal(f"{sent.where}: entry {one.number}", error))

    # Reports last: whoever finds one finds what it refers to.
    for reports in (False, True):
        some = [one for key, one in versions.items() if (key.type == "DiagnosticReport") is reports]
        for failed in await asyncio.gather(*map(follow, some), return_exceptions=True):
            if isinstance(failed, BaseException):
                raise failed
    return tuple(sorted(refusals))


def _is_remark(bundle: JsonObject, entry: BundleEntry) -> bool:
    """Whether an entry of a searchset is what its server had to say about the search."""
    held = (entry.resource or {}).get("resourceType")
    return bundle.get("type") == "searchset" and held == "OperationOutcome"


_WAYS: Final[Mapping[str, Way]] = {
    "message": _message,
    "batch": _interactions,
    "transaction": _interactions,
    "document": _upserts,
    "collection": _upserts,
    "searchset": _upserts,
    "history": _history,
}


def _placed(to: Pusher, resource: JsonObject) -> tuple[ResourceKey, JsonObject]:
    """Where a resource goes: under its id, else under one made of its content."""
    own = resource.get("id")
    if own is None:
        return _under(resource, stable_id(to.tenant, f"load {_digest(dump(resource))}", to.secret))
    return _under(resource, str(own))


def _placed_entry(to: Pusher, entry: BundleEntry) -> tuple[ResourceKey, JsonObject]:
    """The same for an entry, whose `fullUrl` may be the only name it has: `urn:uuid:…`."""
    if entry.resource is None:
        issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    named = (entry.full_url or "").removeprefix("urn:uuid:").lower()
    if "id" not in entry.resource and entry.full_url != named and ID.fullmatch(named):
        return _under(entry.resource, named)
    return _placed(to, entry.resource)


def _under(resource: JsonObject, chosen: str) -> tuple[ResourceKey, JsonObject]:
    return ResourceKey(str(resource.get("resourceType")), chosen), {**resource, "id": chosen}


# --- without storing anything


def rehearsed(to: Pusher, where: str, body: bytes) -> Result:
    """What a push would refuse of itself; nothing is asked of the store."""
    counts: Counter[str] = Counter()
    refusals: list[Refusal] = []
    try:
        resource = decode(body)
        parts = list(_parts(to, resource))
    except ServiceError as error:
        return Result(Counter(refused=1), (refusal(where, error),))
    for label, part in parts:
        try:
            prepare(part, str(part.get("id", "rehearsed")), base=to.base)
            counts["stored"] += 1
        except ServiceError as error:
            counts["refused"] += 1
            refusals.append(refusal(f"{where}{label}", error))
    return Result(counts, tuple(refusals))


def _parts(to: Pusher, resource: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """The resources in a body, each with what it is called."""
    if resource.get("resourceType") != "Bundle":
        yield "", resource
        return
    _way_of(resource)
    if resource.get("type") == "message":
        read_message(resource, client=to.caller.client, entries_max=to.settings.bundle_entries_max)
    entries = entries_of(resource, entries_max=to.settings.bundle_entries_max)
    for number, entry in enumerate(entries):
        if entry.resource is not None and not _is_remark(resource, entry):
            yield f": entry {number}", entry.resource


# --- words


def refusal(where: str, error: ServiceError) -> Refusal:
    """An error as it is reported."""
    issues = [{"code": i.code, "text": i.text, "expression": list(i.expression)} for i in error.issues]
    return Refusal(where, tuple(issues) or ({"code": "processing", "text": error.category.value},))


def _shown(issue: Mapping[str, Any]) -> Mapping[str, Any]:
    """An issue of an OperationOutcome."""
    text = issue.get("details", {}).get("text", "")
    return {"code": issue["code"], "text": text, "expression": issue.get("expression", [])}


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
