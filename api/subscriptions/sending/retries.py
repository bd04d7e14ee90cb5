"""Schedule of attempts, and circuits of receivers. Pure: the time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from api.subscriptions.holders import app_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from store.subscriptions.records import Progress, Subscription

PAUSES: Final = (0, 10, 10, 20, 30, 50, 80, 120)
"""Seconds before each attempt, upstream's schedule; the last one again and again."""
RETRY_AFTER_MAX: Final = 3_600.0
"""Longest pause that a receiver may ask for, in seconds."""
OPENS_AFTER: Final = 3
"""Failures in a row of one receiver, of whatever subscription, after which its circuit opens."""

Receiver = tuple[tuple[str, ...], str]
"""App of a tenant, and endpoint."""


def pause_after(failures: int) -> timedelta:
    """Pause between the last of so many failed attempts and the next one."""
    return timedelta(seconds=PAUSES[min(failures, len(PAUSES) - 1)])


def is_due(progress: Progress, at: datetime, now: datetime) -> bool:
    """Whether the next attempt is due; at once where the clock was set back behind the failures."""
    since = progress.failing_since
    longest = timedelta(seconds=max(RETRY_AFTER_MAX, PAUSES[-1]))
    return at <= now or at > now + longest or (since is not None and since > now)


def moments(attempts: int) -> Iterator[int]:
    """Seconds since the first attempt at which each of so many is due, if all fail at once."""
    pauses = (PAUSES[min(number, len(PAUSES) - 1)] for number in range(attempts))
    return accumulate(pauses)


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    closed_at: datetime | None = None
    """End of the pause; from then on one attempt is let through, which decides."""


@dataclass(slots=True)
class Circuits:
    """Circuits of receivers: one that fails is asked by one subscription at a time.

    A receiver is an endpoint of one app: what another app sends there, shows there, or has no patience for
    holds nobody up.
    """

    _known: dict[Receiver, _Circuit] = field(default_factory=dict)

    def waits(self, one: Subscription, now: datetime) -> datetime | None:
        """Moment until which nothing is sent to its receiver; None: it may be asked.

        Who is let through by an open circuit probes it: others wait for the outcome.
        """
        known = self._known.get(_receiver(one))
        if known is None or known.closed_at is None:
            return None
        if now < known.closed_at <= now + pause_after(known.failures):  # Else the clock was set back.
            return known.closed_at
        known.closed_at = now + pause_after(known.failures)
        return None

    def succeeded(self, one: Subscription) -> None:
        """Close the circuit."""
        self._known.pop(_receiver(one), None)

    def failed(self, one: Subscription, now: datetime) -> None:
        """Count a failure; several in a row open the circuit."""
        known = self._known.setdefault(_receiver(one), _Circuit())
        known.failures += 1
        if known.failures >= OPENS_AFTER:
            known.closed_at = now + pause_after(known.failures)

    def open(self, sending: Iterable[Subscription]) -> int:
        """Number of receivers whose circuit is open, of those that are sent to; all others are forgotten."""
        told = {_receiver(one) for one in sending}
        for receiver in self._known.keys() - told:
            del self._known[receiver]
        return sum(one.closed_at is not None for one in self._known.values())


def _receiver(one: Subscription) -> Receiver:
    return app_of(one), one.channel.endpoint
