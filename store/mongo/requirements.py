"""Requirements on the database: what is asked of it, and a sentence for each thing that is wrong.

Sentences name no value, user or password, so that probes, logs and `dod doctor` may show them.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

WIRE_VERSION_MIN: Final = 17
"""`maxWireVersion` of MongoDB 6.0."""
STANDALONE: Final = (
    "The database is a standalone mongod, which has no majority to acknowledge a write and no transactions:"
    " start it with `--replSet NAME` and run `rs.initiate()`, or name a replica set or mongos."
)
NOT_INITIATED: Final = (
    "The database belongs to a replica set that was never initiated: run `rs.initiate()` on a member of it."
)
OLD: Final = (
    "The database is older than MongoDB 6.0, the oldest version that can do what searches need: upgrade it."
)
WRONG_CREDENTIALS: Final = "The database refuses the user name or the password of DOD_MONGODB_URI."
UNRESOLVED: Final = "The name of the database in DOD_MONGODB_URI cannot be resolved by DNS."
NO_PRIMARY: Final = (
    "The database answers, but has no primary to write to: it elects one, or has lost its majority."
)


def faults_of(
    hello: Mapping[str, Any], *, before: datetime, after: datetime, skew_seconds: float
) -> tuple[str, ...]:
    """Sentences on what a `hello` shows; it was asked between two moments of our own clock."""
    faults = []
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        faults.append(NOT_INITIATED if hello.get("isreplicaset") else STANDALONE)
    elif not hello.get("isWritablePrimary"):
        faults.append(NO_PRIMARY)
    if hello.get("maxWireVersion", 0) < WIRE_VERSION_MIN:
        faults.append(OLD)
    theirs: datetime = hello["localTime"].replace(tzinfo=UTC)
    apart = max((before - theirs).total_seconds(), (theirs - after).total_seconds())
    if apart > skew_seconds:
        faults.append(
            f"The clocks of this machine and of the database are {_about(apart)} apart, more than"
            f" DOD_CLOCK_SKEW_SECONDS ({skew_seconds:g}): what has expired, and when something was stored,"
            " would be told wrong. Set both by NTP."
        )
    return tuple(faults)


def _about(seconds: float) -> str:
    """Length of time, as one says it."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


class Right(NamedTuple):
    """A right that the service needs, and a command that shows whether it is there, without any effect."""

    action: str
    """MongoDB's name of the privilege action."""
    command: Mapping[str, Any]
    """Command, but for the collection; it fails for another reason, or does nothing."""


NOBODY: Final = "\x00 nobody"
"""An `_id` that no document has."""
_NOWHERE: Final = {"$changeStream": {"resumeAfter": {"_data": "00"}}}
FIND: Final = Right("find", {"find": None, "filter": {"_id": NOBODY}, "limit": 1})
RIGHTS: Final = (
    FIND,
    # An `_id` may not be an array: refused, but only for who may insert.
    Right("insert", {"insert": None, "documents": [{"_id": [NOBODY]}]}),
    Right("update", {"update": None, "updates": [{"q": {"_id": NOBODY}, "u": {"$set": {"nothing": 1}}}]}),
    Right("remove", {"delete": None, "deletes": [{"q": {"_id": NOBODY}, "limit": 1}]}),
    # A place that no log has: refused, but only for who may follow it.
    Right("changeStream", {"aggregate": None, "pipeline": [_NOWHERE], "cursor": {}}),
)
"""Tried on each collection, by every role."""
MAKING: Final = (
    # No index is of 0: refused, but only for who may make one.
    Right("createIndex", {"createIndexes": None, "indexes": [{"key": {"nothing": 0}, "name": "nothing"}]}),
    Right("dropIndex", {"dropIndexes": None, "index": "no-such-index"}),
)
"""Tried by roles that make indexes: a start makes them, and drops those of an older release. Who may insert
may make collections."""
AWAITING: Final = (Right("listIndexes", {"listIndexes": None}),)
"""Tried by roles that wait for indexes of others."""


def on(right: Right, collection: str) -> dict[str, Any]:
    """Command that tries a right on a collection."""
    name, *_ = right.command
    return {**right.command, name: collection}


def missing(action: str, collections: Sequence[str], *, database: str, everywhere: bool) -> str:
    """Sentence on a right that the user of the database has not."""
    where = "its collections" if everywhere else f"the collection(s) {', '.join(sorted(collections))}"
    return (
        f"The MongoDB user lacks the right `{action}` on {where} in the database {database}:"
        f" grant it, as the built-in role `readWrite` on that database does."
    )
