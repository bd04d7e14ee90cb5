"""Subjects of erasures and holds, and the reasons that people give for them.

Pure. A reason is kept for years beside receipts, so it must not hold what the patient is known by.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE
from store.search.values.escapes import split, unescape
from store.search.values.tokens import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable

REASON_MAX: Final = 200
"""Characters."""


class Subject(NamedTuple):
    """A patient: by identifier or by the id of the Patient here; one of the two is set."""

    identifier: str = ""
    """`system|value`, as the search index spells it."""
    reference: str = ""
    """`Patient/id`."""

    @property
    def name(self) -> str:
        """The one that is set."""
        return self.identifier or self.reference


def read_subject(text: str) -> Subject:
    """`system|value` or `Patient/id`. Raises ServiceError `incorrect` with the rule, not the value."""
    if text.startswith("Patient/") and RELATIVE.fullmatch(text):
        return Subject(reference=text)
    try:
        parts = [unescape(part) for part in split(text, "|")]
    except ValueError:
        parts = []
    if len(parts) != 2 or not all(part.strip() for part in parts):  # noqa: PLR2004 -- system and value
        rule = "a patient is named by `system|value`, both of them, or by `Patient/id`"
        raise ServiceError(Category.INCORRECT, Issue("value", rule, ("patient",)))
    return Subject(identifier=identifier(parts[0], parts[1]))


def identifier(system: str, value: str) -> str:
    """The spelling of an identifier with both its parts."""
    return spellings(system, value, folded=False)[1]


def value_of(spelling: str) -> str:
    """The value of `system|value`, as it was sent."""
    return unescape(split(spelling, "|")[-1])


def reason_for(text: str | None, *, subjects: Iterable[str] = ()) -> str:
    """The reason, trimmed. Raises ServiceError `incorrect` when there is none, or it names the subject."""
    reason = " ".join((text or "").split())
    if not reason:
        rule = "a reason is needed: say why, in a few words"
        raise ServiceError(Category.INCORRECT, Issue("required", rule, ("reason",)))
    if len(reason) > REASON_MAX:
        rule = f"a reason has at most {REASON_MAX} characters"
        raise ServiceError(Category.INCORRECT, Issue("too-long", rule, ("reason",)))
    folded = reason.casefold()
    parts = {part for subject in subjects for part in _parts(subject)}
    if any(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", folded) for part in parts):
        rule = "the reason must not hold what the patient is known by: it is kept after the patient's data"
        raise ServiceError(Category.INCORRECT, Issue("value", rule, ("reason",)))
    return reason


def _parts(subject: str) -> list[str]:
    """Parts of a subject that must not stand in a reason: all of it, and the value or id alone."""
    alone = subject.rpartition("|")[2] if "|" in subject else subject.rpartition("/")[2]
    return [part.casefold() for part in (subject, alone.replace("\\", "")) if len(part) > 1]
