"""The load of files: each body goes the way of a push by HTTP, and again while MongoDB is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ingest.load.files import pieces
from ingest.load.hl7v2 import claims_of, is_hl7v2
from ingest.load.rehearsal import rehearsed
from ingest.load.results import AGAIN, Refusal, Result, refusal, settled
from ingest.load.write_sets import Claims, claims, differ
from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.feeds.sources import Source as FeedSource
    from ingest.load.files import Bounds, Piece, Source
    from ingest.load.journal import Journal
    from ingest.load.pushers import Pusher
    from ingest.writes.push_context import PushContext

PAUSE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 600.0
"""Time for which a body is tried while the database is away."""
EARLY_BYTES_MAX: Final = 256_000_000
"""Bytes of bodies that wait for what they refer to; past it they are refused, and the next run tries them."""
READ_AHEAD_BYTES: Final = 1_000_000
READ_AHEAD_PIECES: Final = 200
"""Pieces that the reading thread takes in one turn."""
YIELDS_OVER: Final = 1.5
"""A backfill rests when a push takes so many times as long as the quickest ones do."""
STOP_SECONDS: Final = 10.0
"""Time that bodies under way are given when the load is asked to stop."""

_NO_BASE: Final = Issue(
    "required", "it may refer to this service by an absolute URL, so `--base-url` must name its base"
)


class Work(NamedTuple):
    """Body to load."""

    name: str
    """Name of its file, in the journal."""
    piece: Piece
    body: bytes
    claims: Claims


class Watcher(Protocol):
    """Observer of a load as it goes on."""

    def loaded(self, piece: Piece, result: Result) -> None:
        """Note that a body is done with."""

    def passed(self, piece: Piece) -> None:
        """Note that a body was stored by an earlier run."""


@dataclass(slots=True)
class Load:
    """Order of a load: what, how, and whom to tell."""

    ctx: PushContext
    pusher: Pusher
    bounds: Bounds
    concurrency: int
    bytes_max: int
    """Bytes of bodies under way."""
    journal: Journal | None
    watcher: Watcher
    backfill: bool = False
    dry_run: bool = False
    sources: Sequence[FeedSource] = ()
    """Declared sources of HL7 v2 messages."""
    ours: bytes | None = None
    """Our own path, when the origin before it is not known: a body that holds it cannot be indexed right."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from outside: no further body is begun, and those under way are finished."""
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _under_way: dict[asyncio.Task[None], Claims] = field(default_factory=dict)
    _bytes: int = 0
    _retrying: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_away: bool = False
    """Whether the last body that was pushed again, or was to be, did not get in."""
    _quickest: float = float("inf")
    _early: list[Work] = field(default_factory=list)
    """Refused for want of what may be in a file that is still to come, and what must not overtake those."""

    async def run(self, files: Sequence[Source]) -> bool:
        """Load until all is done or `stop` is set; whether all is done.

        Raises StartupError when the database stays away.
        """
        feeding = asyncio.ensure_future(self._feed(files))
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({feeding, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
                return True
            feeding.cancel()
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
            return False
        finally:
            left = [feeding, stopping, *self._under_way]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _feed(self, files: Sequence[Source]) -> None:
        for source in files:
            await self._source(source)
        await self._room(0, all_done=True)
        await self._early_ones()

    async def _source(self, source: Source) -> None:
        name = self.journal.name(source, str(self.ctx.tenant)) if self.journal else ""
        reading = pieces(source, self.bounds)
        while some := await asyncio.to_thread(_take, reading):
            for piece in some:
                if self.journal is not None and piece.body is not None and self.journal.holds(name, piece):
                    self.watcher.passed(piece)
                    continue
                if piece.body is None:
                    issue = {"code": "structure", "text": piece.fault, "expression": []}
                    self.watcher.loaded(piece, Result(Counter(refused=1), (Refusal(piece.place, (issue,)),)))
                    continue
                await self._start(Work(name, piece, piece.body, self._claims(piece.body)))

    def _claims(self, body: bytes) -> Claims:
        if self.dry_run:
            return {}
        return claims_of(body) if is_hl7v2(body) else claims(body)

    async def _start(self, work: Work) -> None:
        """Start a body, once there is room for it and it overtakes none that writes the same otherwise."""
        await self._room(len(work.body), work.claims)
        if self._may_wait(work) and any(differ(work.claims, one.claims) for one in self._early):
            self._early.append(work)
            return
        self._bytes += len(work.body)
        task = asyncio.create_task(self._piece(work))
        self._under_way[task] = work.claims
        task.add_done_callback(self._done)

    async def _early_ones(self) -> None:
        """Load the bodies that came before what they refer to, in their order, as long as any of them gets
        in.
        """
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
        if self.journal is not None and not self.dry_run:
            earlier = self.journal.part(work.name, work.piece)
            counts = settled(earlier, result.counts)
            result = result._replace(counts=counts, earlier=earlier)
            there = Counter({name: number for name, number in counts.items() if name != "refused"})
            if not result.refusals:
                self.journal.add(work.name, work.piece, counts)
            elif there != earlier:
                self.journal.add(work.name, work.piece, there, whole=False)
        self.watcher.loaded(work.piece, result)

    async def _result(self, work: Work) -> Result:
        piece, body = work.piece, work.body
        if self.ours is not None and self.ours in body:
            error = ServiceError(Category.UNPROCESSABLE, _NO_BASE)
            return Result(Counter(refused=1), (refusal(piece.place, error),))
        if self.dry_run:
            return rehearsed(self.ctx, piece.place, body, self.sources)
        started = monotonic()
        try:
            result = await self.pusher.push(piece.place, body)
        except ServiceError as error:
            if error.category not in AGAIN:
                raise
            self._is_away = True
            result = await self._again(piece, body)
        if self.backfill:
            took = monotonic() - started
            await self.pause(rest(took, self._quickest))
            # Forgets slowly: what was quick in the night may never be again.
            self._quickest = min(took, self._quickest * 1.01)
        return result

    async def _again(self, piece: Piece, body: bytes) -> Result:
        """Load again the bodies that failed, in the order in which they did, which is that of their files."""
        until = monotonic() + PATIENCE_SECONDS
        async with self._retrying:
            while monotonic() < until:
                if self._is_away:  # Else one that waited before this one got in.
                    await self.pause(PAUSE_SECONDS)
                try:
                    result = await self.pusher.push(piece.place, body)
                except ServiceError as error:
                    if error.category not in AGAIN:
                        raise
                    self._is_away = True
                else:
                    self._is_away = False
                    return result
        text = "The database stays away; when it is back, the same command goes on from here."
        raise StartupError(text)


def rest(took: float, quickest: float) -> float:
    """Pause that a backfill leaves to others: as long as they, it seems, made it wait."""
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
