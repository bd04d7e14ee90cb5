"""Kinds of changes, as R4's statuses tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.changes.changes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
