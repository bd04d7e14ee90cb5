"""MongoDB's log of what was committed to `resources`: a change stream, a batch at a time.

The commands are written out because a batch must be dealt with as it comes: the driver's own stream gives one
event after the other, and waits for more before it says that there are no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from pymongo.errors import OperationFailure, PyMongoError

from store.mongo.indexes import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pymongo.client_session import ClientSession

    from store.mongo.driver.client import Database

WAIT_MILLISECONDS: Final = 1
"""Longest wait of the server for an event. A read that waits is woken by every write to the log, records of
the audit among them: a search cost a tenth more. The follower waits between two reads instead.
"""
_ZONED: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True)
_LOST: Final = frozenset({136, 260, 280, 286, 50811, 50795})
"""CappedPositionLost, InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost, and tokens that
cannot be read: the log does not have the place.
"""
_TOLD: Final = ("insert", "replace", "delete", "invalidate")
"""Operations that matter. An update changes what is known about a version, and never makes one."""
_FIELDS: Final = (
    *("tenant", "type", "was", "id", "version", "updated.lo", "deleted", "created_by"),
    *("quiet", "index.status"),
)
_STAGES: Final[Sequence[Mapping[str, Any]]] = (
    {"$match": {"operationType": {"$in": list(_TOLD)}}},
    {
        "$project": {
            **dict.fromkeys(("operationType", "documentKey", "wallTime"), 1),
            **{f"fullDocument.{name}": 1 for name in _FIELDS},
        }
    },
)
"""The bytes of a resource stay in the server."""


class LogLost(Exception):  # noqa: N818 -- no error of ours: what follows the place has to be found otherwise
    """Raised when MongoDB's log does not have the place to read from, or has it no longer; and when the
    collection was replaced since, as by a restore: what its log tells never was, or is there already.
    """


class LogBatch(NamedTuple):
    """Events in the order of their commits, and the place behind them."""

    events: Sequence[Mapping[str, Any]]
    token: Mapping[str, Any]
    """Resume token: also that of a batch without events goes on in time."""

    def complete(self, asked: datetime, *, limit: int) -> datetime:
        """Moment up to which all is told with these events, by the moment when they were asked for.

        Behind as many as were asked for there are more: `DECISIONS.md#complete-behind-a-batch`.
        """
        return asked if len(self.events) < limit else min(asked, self.events[-1]["wallTime"])


class Log:
    """Change stream, open from one read to the next. All of it runs in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database.delegate
        self._session: ClientSession | None = None
        self._cursor = 0

    def read(self, place: Mapping[str, Any], *, limit: int) -> LogBatch:
        """The next events behind a place, `startAfter` or `startAtOperationTime`; none after a short wait.

        A stream that is open goes on from where it is. Raises LogLost; after any error the next call opens
        the stream anew.
        """
        try:
            batch = self._more(limit) if self._cursor else self._opened(place, limit)
        except OperationFailure as error:
            self.close()
            if error.code in _LOST:
                raise LogLost from error
            raise
        except PyMongoError:
            self.close()
            raise
        if any(one["operationType"] == "invalidate" for one in batch.events):
            self.close()  # `DECISIONS.md#restored-in-place`
            raise LogLost
        return batch

    def _opened(self, place: Mapping[str, Any], limit: int) -> LogBatch:
        self._session = self._database.client.start_session(causal_consistency=False)
        command = {
            "aggregate": RESOURCES,
            "pipeline": [{"$changeStream": dict(place)}, *_STAGES],
            "cursor": {"batchSize": limit},
            "readConcern": {"level": "majority"},
        }
        reply = self._database.command(command, session=self._session, codec_options=_ZONED)
        return self._batch(reply["cursor"], "firstBatch")

    def _more(self, limit: int) -> LogBatch:
        command = {
            "getMore": Int64(self._cursor),
            "collection": RESOURCES,
            "batchSize": limit,
            "maxTimeMS": WAIT_MILLISECONDS,
        }
        reply = self._database.command(command, session=self._session, codec_options=_ZONED)
        return self._batch(reply["cursor"], "nextBatch")

    def _batch(self, cursor: Mapping[str, Any], name: str) -> LogBatch:
        self._cursor = cursor["id"]
        events = cursor[name]
        return LogBatch(events, cursor["postBatchResumeToken"])

    def close(self) -> None:
        """Let the stream go; the server forgets it with its session."""
        session, self._session, self._cursor = self._session, None, 0
        if session is not None:
            session.end_session()
