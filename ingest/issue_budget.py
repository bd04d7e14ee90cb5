"""Issues that the answer to one Bundle tells: its entries share them, and each tells one at least. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import ISSUES_MAX, MORE, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.fhir.issues import Issue


class IssueBudget:
    """Issues that are left for one answer."""

    def __init__(self) -> None:
        self._left = ISSUES_MAX

    def told(self, issues: Sequence[Issue]) -> tuple[Issue, ...]:
        """The first issues, as many as may still be told, and one that counts the others."""
        most = max(self._left, 1)
        self._left -= len(issues)
        return tuple(issues) if len(issues) <= most else (*issues[:most], MORE)

    def within(self, error: ServiceError) -> ServiceError:
        """The refusal of an entry with as many of its issues as are left."""
        told = self.told(error.issues)
        return error if len(told) == len(error.issues) else ServiceError(error.category, *told)
