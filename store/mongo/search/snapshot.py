"""Reads of one search: all at one moment of the database, however many commands that takes.

The first command finds the moment out, the others are told. A page link carries it on, so that pages belong
together while others write; MongoDB remembers for `minSnapshotHistoryWindowInSeconds` (300 by default).
https://www.mongodb.com/docs/v6.0/reference/read-concern-snapshot/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson import Timestamp
from pymongo.errors import AutoReconnect, OperationFailure

from store.mongo.indexes import RESOURCES
from store.mongo.search import find_commands as commands
from store.search.criteria import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.mongo.driver.pinned_connection import Lane
    from store.search.planning.plan import FindPlan

_FORGOTTEN: Final = frozenset((239, 246))
"""SnapshotTooOld, SnapshotUnavailable (an index was just made)."""
_YET_TO_COME: Final = 72
"""InvalidOptions: the moment is ahead of this database, which came back from a backup."""


class MomentForgottenError(Exception):
    """The database cannot show that moment any more."""


class Batch(NamedTuple):
    """Documents, and whether there are more of them than a reply holds."""

    documents: list[dict[str, Any]]
    more: bool


class View:
    """Reads of one moment. What is found is durable, and includes all that was acknowledged before."""

    def __init__(
        self,
        database: Any,  # noqa: ANN401 -- pymongo's
        moment: Moment | None,
        *,
        latest: bool = False,
        lane: Lane | None = None,
    ) -> None:
        self._database = database
        self._lane = lane
        self._latest = latest
        self._at = None if moment is None else Timestamp(*moment)

    @property
    def moment(self) -> Moment | None:
        """Moment that all reads see; None: nothing was read yet, or each read sees the newest state."""
        return None if self._at is None else Moment(self._at.time, self._at.inc)

    def find(self, find: FindPlan, fields: Mapping[str, int]) -> list[dict[str, Any]]:
        """All documents of a plan."""
        return self._run(commands.page(find, fields))

    def first(self, find: FindPlan, fields: Mapping[str, int]) -> Batch:
        """The first documents of a plan, their `raw` bytes untouched: as many as fit into one reply.

        MongoDB ends a reply at 16 MB, so however large the resources are no more is read.
        """
        cursor = self._begun(commands.page(find, fields))
        if cursor["id"]:
            self._end(cursor)
        return Batch(cursor["firstBatch"], more=bool(cursor["id"]))

    def aggregate(self, stages: Sequence[Mapping[str, Any]], *, hint: str = "keyed") -> list[dict[str, Any]]:
        """Documents that these stages give, begun with an index."""
        return self._run(commands.aggregate(stages, hint=hint))

    def count(self, find: FindPlan, *, at_most: int | None, nothing_ends: bool = False) -> int:
        """Number of matches, as far as `at_most`; see `find_commands.count`."""
        found = self._run(commands.count(find, at_most=at_most, nothing_ends=nothing_ends))
        return found[0]["n"] if found else 0

    def explain(self, find: FindPlan, fields: Mapping[str, int]) -> Mapping[str, Any]:
        """MongoDB's own account of how it runs a plan."""
        command = {"explain": commands.page(find, fields), "verbosity": "executionStats"}
        explained: Mapping[str, Any] = self._database.command(command)
        return explained

    def _run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        cursor = self._begun(command)
        if cursor["id"]:
            self._end(cursor)
            try:
                return self._large({**command, "readConcern": self._concern()})
            except OperationFailure as error:
                raise self._told(error) from None
        found: list[dict[str, Any]] = cursor["firstBatch"]
        return found

    def _begun(self, command: dict[str, Any]) -> dict[str, Any]:
        """The cursor of a command, with its first reply."""
        command["readConcern"] = self._concern()
        try:
            cursor = self._command(command)
        except OperationFailure as error:
            raise self._told(error) from None
        self._at = self._at or cursor.get("atClusterTime")
        return cursor

    def _end(self, cursor: Mapping[str, Any]) -> None:
        self._database.command({"killCursors": RESOURCES, "cursors": [cursor["id"]]})

    def _told(self, error: OperationFailure) -> Exception:
        """The error, or that the moment is forgotten."""
        if error.code in _FORGOTTEN or (error.code == _YET_TO_COME and self._at is not None):
            return MomentForgottenError()
        return error

    def _concern(self) -> dict[str, Any]:
        if self._latest:
            return {"level": "majority"}
        return {"level": "snapshot"} if self._at is None else {"level": "snapshot", "atClusterTime": self._at}

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            cursor: dict[str, Any] = (self._lane or self._database).command(command)["cursor"]
        except AutoReconnect:
            # As the driver does for its own finds; a primary may just have changed. The deadline stays.
            cursor = self._database.command(command)["cursor"]
        return cursor

    def _large(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Documents in several replies, when they do not fit into one of 16 MB."""
        with self._database.client.start_session(causal_consistency=False) as session:
            return list(self._database.cursor_command(command, session=session))
