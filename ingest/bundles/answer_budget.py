"""The bytes that the answer to one Bundle may take: its searches and reads share them.

A search ends its page early within what is left; what no longer fits is refused in its own entry, and nothing
is read any more after it: to read in vain would cost as much as to answer.
"""

from __future__ import annotations

from typing import Final

from ingest.http.preferences import returned
from ingest.issue_budget import IssueBudget
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

_SPENT: Final = Issue(
    "too-costly",
    "the answers to this Bundle have as many bytes as one answer may have (`DOD_PAGE_BYTES_MAX`): nothing was"
    " read for this entry; send it again in another Bundle, or by itself",
)


class AnswerBudget:
    """Bytes that are left for one answer, and issues."""

    def __init__(self, bytes_max: int, prefer: str = "") -> None:
        self.issues = IssueBudget()
        self.left = bytes_max
        self._returned = returned(prefer)
        self._begun = False

    @property
    def tells(self) -> bool:
        """Whether each write is told of, as `Prefer: return=OperationOutcome` asks."""
        return self._returned == "operationoutcome"

    def represents(self, size: int) -> bool:
        """Whether a write shows its resource, as `Prefer: return=representation` asks: as long as it fits."""
        if self._returned != "representation" or size > self.left:
            return False
        self.left -= size
        return True

    def check(self) -> None:
        """Raise ServiceError `too-costly` when nothing is left."""
        if self.left <= 0:
            raise ServiceError(Category.INCORRECT, _SPENT)

    def spend(self, size: int) -> None:
        """Take what an entry came to. Raises ServiceError `too-costly` unless it fits, or is the first."""
        fits = size <= self.left or not self._begun
        self.left -= size if fits else self.left
        self._begun = True
        if not fits:
            raise ServiceError(Category.INCORRECT, _SPENT)
