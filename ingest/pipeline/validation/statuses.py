"""Codes of the status of a report and of a result: required bindings of R4.

http://hl7.org/fhir/R4/valueset-diagnostic-report-status.html, …/valueset-observation-status.html
"""

from __future__ import annotations

from typing import Final, Literal, get_args

ReportStatus = Literal[
    "registered",
    "partial",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "appended",
    "cancelled",
    "entered-in-error",
    "unknown",
]
ResultStatus = Literal[
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
]
REPORT_STATUSES: Final[frozenset[str]] = frozenset(get_args(ReportStatus))
