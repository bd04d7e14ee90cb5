"""Look-ups of pushes: finds by an index, those of one moment in one thread and over one connection.

A find of Motor takes a thread and a cursor, and the driver chooses a server and a connection for it. A plain
command on a connection that is kept costs two thirds of that.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo.errors import AutoReconnect

from store.fair import Asker, Shares
from store.mongo.driver.pinned_connection import Lane
from store.mongo.driver.read_batches import ReadBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.mongo.driver.client import Database, Document
    from store.settings import StoreSettings

_THREADS: Final = 4
"""Most threads. More of them only fight for the interpreter."""
_OF_POOL: Final = 8
"""Share of the driver's threads."""
_TOGETHER: Final = 16
"""Look-ups of one turn: each takes well under a millisecond."""
_ALL: Final = Asker("", "")
"""Asker of all look-ups: how many pushes are under way is bounded where they come in."""
_UNBOUNDED: Final = 1_000_000


class _LookUp:
    """Find that waits for its turn."""

    __slots__ = ("_command", "_database", "lane")

    def __init__(self, database: Any, command: dict[str, Any]) -> None:  # noqa: ANN401 -- pymongo's
        self._database = database
        self._command = command
        self.lane: Lane | None = None

    def __call__(self, left: float) -> list[Document]:
        """All documents. Raises the driver's errors."""
        with pymongo.timeout(left):
            try:
                cursor = (self.lane or self._database).command(self._command)["cursor"]
            except AutoReconnect:
                # As the driver does for its own finds; a primary may just have changed. The deadline stays.
                return self._all()
            if not cursor["id"]:
                found: list[Document] = cursor["firstBatch"]
                return found
            self._database.command({"killCursors": self._command["find"], "cursors": [cursor["id"]]})
            return self._all()

    def _all(self) -> list[Document]:
        """Documents in as many replies as they take."""
        with self._database.client.start_session(causal_consistency=False) as session:
            options = self._database.codec_options
            return list(self._database.cursor_command(self._command, session=session, codec_options=options))


class LookUps:
    """The threads of look-ups."""

    def __init__(self, database: Database, *, settings: StoreSettings) -> None:
        self._database = database.delegate
        self._seconds = settings.store_timeout_seconds
        threads = max(1, min(_THREADS, settings.pool_size // _OF_POOL))
        self._batches = ReadBatches(
            threads=Shares(threads, threads, threads),
            waiting=Shares(_UNBOUNDED, _UNBOUNDED, _UNBOUNDED),
            jobs_max=_TOGETHER,
            name="look-up",
            around=self._together,
        )

    async def find(self, command: dict[str, Any]) -> list[Document]:
        """All documents of a `find` command, read outside of any transaction. Raises the driver's errors."""
        return await self._batches.run(_ALL, _LookUp(self._database, command), seconds=self._seconds)

    def close(self) -> None:
        """Take no more look-ups."""
        self._batches.close()

    # --- in a thread

    @contextmanager
    def _together(self, turn: Sequence[_LookUp], _: float) -> Iterator[None]:
        lane = Lane(self._database)
        for one in turn:
            one.lane = lane
        try:
            yield
        finally:
            lane.give_back()
