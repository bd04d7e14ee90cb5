"""Issues, as an OperationOutcome will show them. https://hl7.org/fhir/R4/operationoutcome.html"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """Fault and its place; `text` names parameters, elements and rules, never a patient's value."""

    code: str
    """Code from http://hl7.org/fhir/issue-type: `invalid`, `required`, `not-supported` …"""
    text: str
    expression: tuple[str, ...] = ()
    """FHIRPath of the element in a body, or the name of the parameter."""
    severity: Severity = "error"
