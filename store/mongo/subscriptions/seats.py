"""Seats: a subscription by its id and the moment when it was made, as the name of a field.

One that went leaves nothing to the next one of its id. `seat_of` and `of_field` are the two directions of one
spelling: an id of FHIR has no underscore, and the name of a field no dot.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from store.fhir.instants import from_datetime, to_datetime

if TYPE_CHECKING:
    from datetime import datetime

    from store.subscriptions.records import Subscription


class Seat(NamedTuple):
    """Parts of a seat."""

    id: str
    created: datetime
    """To the millisecond, as MongoDB keeps it."""


@lru_cache(maxsize=10_000)
def seat_of(id: str, created: datetime) -> str:
    """Name of the field of the subscription that was made under an id at a moment."""
    return f"{id.replace('.', '_')}@{from_datetime(created).start // 1_000}"


def seat(subscription: Subscription) -> str:
    """Name of the field of a subscription."""
    return seat_of(subscription.id, subscription.created)


def of_field(name: str) -> Seat:
    """Seat that `seat_of` gave this name."""
    id, _, made = name.rpartition("@")
    return Seat(id.replace("_", "."), to_datetime(int(made) * 1_000))
