"""Failures below HTTP; `api.outcome` turns a category into a status.

ServiceError
    carries a `Category` and the `Issue`s that end up in an OperationOutcome.
StartupError
    the process cannot start or a command cannot run: one sentence for the operator.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from store.fhir.issues import Issue

ISSUES_MAX: Final = 1_000
"""Issues that one refusal tells: a body of a million faults would be answered with a hundred megabytes."""
MORE: Final = Issue("incomplete", f"there is more that is wrong: {ISSUES_MAX} issues are told at most")


class Category(StrEnum):
    """Category of a failure. A new failure is a new message, rarely a new category."""

    INCORRECT = "incorrect"
    """The request cannot be understood or breaks a rule; sent again unchanged it fails again."""
    UNSUPPORTED = "unsupported"
    """Understood, and not offered here."""
    UNPROCESSABLE = "unprocessable"
    """Well-formed JSON whose content breaks a rule of FHIR or of this service."""
    UNAUTHENTICATED = "unauthenticated"
    """No credential, or one that is unknown, expired or revoked."""
    FORBIDDEN = "forbidden"
    """A good credential that does not reach this tenant, type or interaction."""
    NOT_FOUND = "not-found"
    GONE = "gone"
    """The resource or page was here: a deleted resource, an expired page."""
    CONFLICT = "conflict"
    """Somebody else changed it meanwhile, or it exists already."""
    PRECONDITION = "precondition"
    """A condition the client itself stated (`If-None-Exist`, `If-Match`) does not hold."""
    TOO_LARGE = "too-large"
    TIMEOUT = "timeout"
    """The database did not answer in the time it was given."""
    UNAVAILABLE = "unavailable"
    """The database cannot be reached or has no primary; worth a retry."""
    THROTTLED = "throttled"
    """The client or its tenant asks for more at a time than its share; worth a retry, more slowly."""
    FAULT = "fault"
    """Our own defect."""


class ServiceError(Exception):
    """A refusal with its reasons. Its text never holds a patient's value."""

    def __init__(self, category: Category, *issues: Issue) -> None:
        if len(issues) > ISSUES_MAX + 1:
            issues = (*issues[:ISSUES_MAX], MORE)
        super().__init__(category.value, *(issue.text for issue in issues))
        self.category = category
        self.issues = issues


class StartupError(Exception):
    """The process cannot start; `str()` is one sentence for the operator, exit code 1."""
