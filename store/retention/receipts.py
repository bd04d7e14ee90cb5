"""Receipts: what each run deleted, as a chain in which none can be changed or taken out unnoticed. Pure.

Each holds the hash of the one before; nothing in them is about a patient. Keep the newest hash elsewhere
too: a chain that was rewritten as a whole is consistent with itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from store.retention.runs import Row, RunKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

FIRST: Final = "0" * 64
"""Hash that stands before that of number 1."""


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """A line of a receipt."""

    row: Row
    count: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Receipt of a run."""

    number: int
    """1, 2, 3 … without a gap."""
    run: str
    kind: RunKind
    tenant: str
    """Empty: all tenants."""
    subject: str
    reason: str
    started_at: datetime
    as_of: datetime
    ended_at: datetime
    complete: bool
    """False: its time was up before it had been through everything; the next run does the rest."""
    takeovers: int
    rows: tuple[Counted, ...]
    skipped: tuple[Counted, ...]
    """Counts of what had expired and stays: held, or needed."""
    previous: str
    hash: str = ""

    @property
    def seconds(self) -> float:
        """Duration of the run, interruptions included."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def deleted(self) -> int:
        """Sum of all that was deleted."""
        return sum(one.count for one in self.rows)

    def sealed(self) -> Receipt:
        """Receipt with its hash."""
        return replace(self, hash=hash_of(self))


def as_json(receipt: Receipt) -> dict[str, Any]:
    """The receipt for people and machines; what is hashed is this without `hash`."""
    return {
        "number": receipt.number,
        "run": receipt.run,
        "kind": receipt.kind.value,
        "tenant": receipt.tenant,
        "subject": receipt.subject,
        "reason": receipt.reason,
        "startedAt": _moment(receipt.started_at),
        "asOf": _moment(receipt.as_of),
        "endedAt": _moment(receipt.ended_at),
        "seconds": receipt.seconds,
        "complete": receipt.complete,
        "takeovers": receipt.takeovers,
        "deleted": _rows(receipt.rows),
        "skipped": _rows(receipt.skipped),
        "previous": receipt.previous,
        "hash": receipt.hash,
    }


def hash_of(receipt: Receipt) -> str:
    """SHA-256 over all but the hash itself, as JSON with sorted names and no blanks."""
    said = as_json(receipt)
    del said["hash"]
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _rows(rows: tuple[Counted, ...]) -> list[dict[str, Any]]:
    return [{**one.row._asdict(), "count": one.count} for one in rows]


class Link(NamedTuple):
    """The end of a chain so far."""

    number: int = 0
    hash: str = FIRST


def fault(after: Link, receipt: Receipt) -> str | None:
    """Fault of the receipt that comes after this link; None: there is none."""
    if receipt.number != after.number + 1:
        return f"receipt {after.number + 1} is missing: after {after.number} comes {receipt.number}"
    if receipt.previous != after.hash:
        return f"receipt {receipt.number} does not follow receipt {after.number}: that one was changed"
    if receipt.hash != hash_of(receipt):
        return f"receipt {receipt.number} was changed: its hash is not that of what it says"
    return None


def verify(receipts: Iterable[Receipt]) -> tuple[Link, str | None]:
    """The last link that holds, and what is wrong with the next; receipts come by number."""
    link = Link()
    for receipt in receipts:
        wrong = fault(link, receipt)
        if wrong is not None:
            return link, wrong
        link = Link(receipt.number, receipt.hash)
    return link, None
