"""Answers in upstream's envelope: `Meta` with `Logs` and `Errors`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ingest.pipeline.identity.decisions import TEXTS, Finding
from store.fhir.datatypes import Number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.fhir.issues import Issue

NAME: Final = "data on demand"
MODULE: Final = "Data Model"
WARNINGS_MAX: Final = 100
"""Fields that an answer names as not kept."""
PLACES: Final[Mapping[Finding, str]] = dict.fromkeys(
    (Finding.PATIENT_DOUBTED, Finding.PATIENT_CHANGED, Finding.PATIENTS_LINKED), "$.Patient"
)


def envelope(request_id: str, *, model: str | None = None, event: str | None = None) -> dict[str, Any]:
    """The `Meta` of an answer; its log's id is that of the request."""
    named = {"DataModel": model, "EventType": event}
    return {
        **{name: value for name, value in named.items() if value},
        "Source": {"ID": None, "Name": NAME},
        "Logs": [{"ID": request_id, "AttemptID": request_id}],
    }


def refused(request_id: str, issues: Sequence[Issue]) -> bytes:
    """The answer to a message that is refused."""
    return rendered({"Meta": {**envelope(request_id), "Errors": [error_of(one) for one in issues]}})


def error_of(issue: Issue) -> dict[str, Any]:
    """Member of `Meta.Errors[]`: the rule, and the JSON path where one is known."""
    told: dict[str, Any] = {"Text": issue.text, "Type": "message", "Module": MODULE, "Code": issue.code}
    return {**told, "Path": issue.expression[0]} if issue.expression else told


def unmapped(paths: Sequence[str]) -> list[dict[str, str]]:
    """Members of `Meta.Warnings[]` for what a message says and nothing maps."""
    told = [{"Text": "is not mapped, and not kept", "Path": path} for path in paths[:WARNINGS_MAX]]
    if (more := len(paths) - WARNINGS_MAX) > 0:
        told.append({"Text": f"{more} more are not mapped, and not kept", "Path": "$"})
    return told


def unread(paths: Sequence[str]) -> list[dict[str, str]]:
    """Members of `Meta.Warnings[]` for values that FHIR has no value for."""
    rule = "is no time, number or word that is known: it is kept as it was sent, and found by no search"
    told = [{"Text": rule, "Path": path} for path in paths[:WARNINGS_MAX]]
    if (more := len(paths) - WARNINGS_MAX) > 0:
        told.append({"Text": f"{more} more are kept as they were sent, and found by no search", "Path": "$"})
    return told


def doubted(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Members of `Meta.Warnings[]` for what was decided about who is who."""
    return [{"Text": TEXTS[one], "Path": PLACES.get(one, "$.Orders"), "Code": one.value} for one in findings]


def outdated(*, late: bool) -> list[dict[str, str]]:
    """Member of `Meta.Warnings[]` for an order that is older than what is stored of it."""
    text = (
        "What is stored is newer, by `Meta.EventDateTime` or the source's own time: this is in the history."
    )
    return [{"Text": text, "Path": "$.Orders", "Code": "stale"}] if late else []


def rendered(body: Mapping[str, Any]) -> bytes:
    """The bytes of an answer."""
    return orjson.dumps(body, default=_digits)


def _digits(value: object) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError
