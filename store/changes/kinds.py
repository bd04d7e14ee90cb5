"""Kinds of changes, as R4's statuses tell them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(StrEnum):
    """Kinds of changes."""

    CREATED = "created"
    """First version of a resource, or the first since it was deleted."""
    UPDATED = "updated"
    """Another version."""
    CORRECTED = "corrected"
    """Another version whose status says that it amends or corrects what was there."""
    CANCELLED = "cancelled"
    """Version whose status says that it is cancelled, the first one or another."""
    ENTERED_IN_ERROR = "entered-in-error"
    """Version whose status says that it never should have been, the first one or another."""
    DELETED = "deleted"
    """Deleted by a request, or left out by a newer version of its report: its history stays."""
    ERASED = "erased"
    """Erased for good with its history, for its patient's sake. Nothing may be kept of it."""
    EXPIRED = "expired"
    """Deleted for good with its history, for its tenant's retention is over."""


GOING: Final = frozenset({Kind.DELETED, Kind.ERASED, Kind.EXPIRED})
"""Kinds after which the resource is not there."""

_STANDING: Final[Mapping[str, Kind]] = {
    "entered-in-error": Kind.ENTERED_IN_ERROR,
    "cancelled": Kind.CANCELLED,
    "revoked": Kind.CANCELLED,
    "not-done": Kind.CANCELLED,
}
"""Statuses that say that a resource does not count, whatever it was before."""
_AMENDING: Final = frozenset({"amended", "corrected", "appended"})
"""Statuses of a version that changes what was said before."""


def kind_of(status: Iterable[str], *, creation: bool) -> Kind:
    """Kind of a version that became current, by the codes of its `status`.

    A resource whose first version says that it corrects something is new here all the same.
    """
    codes = frozenset(status)
    for code, kind in _STANDING.items():
        if code in codes:
            return kind
    if creation:
        return Kind.CREATED
    return Kind.CORRECTED if codes & _AMENDING else Kind.UPDATED
