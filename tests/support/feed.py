"""A made-up laboratory's feed: messages whose versions have times, and what a tenant holds in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.fhir import MRN, coded, identified, message, patient, refers, report, resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.service import Answer, Service

Json = dict[str, Any]
NUMBERS = "urn:example:results"
"""System of the identifiers of observations."""
FILLERS = "urn:example:fillers"


def at(minute: int) -> str:
    """A moment of the source."""
    return f"2026-11-20T10:{minute:02}:00Z"


def observation(name: str, *, value: str = "n", of: str = "p", **more: Any) -> Json:
    """A result with an identifier of its own."""
    return resource(
        "Observation",
        name,
        status="final",
        code=coded("1-8"),
        identifier=[identified(NUMBERS, name)],
        subject=refers(f"Patient/{of}"),
        valueString=value,
        **more,
    )


def delivery(
    name: str,
    *results: Json,
    time: str | None = None,
    of: str = "p",
    evidence: str = "timestamp",
    **more: Any,
) -> Json:
    """A report with its results and patient; `evidence` is where the time stands."""
    said: Json = {}
    if time is not None and evidence == "meta":
        said = {"meta": {"lastUpdated": time}}
    elif time is not None and evidence == "issued":
        said = {"issued": time}
    sent = report(
        name,
        of,
        identifier=[identified(FILLERS, name)],
        **({"result": [refers(f"Observation/{one['id']}") for one in results]} if results else {}),
        **said,
        **more,
    )
    bundle = message(sent, *results, patient(of, identified(MRN, of)))
    return {**bundle, "timestamp": time} if time is not None and evidence == "timestamp" else bundle


async def send(service: Service, bundle: Json, path: str = "$process-message", **headers: str) -> Answer:
    named = {name.title(): value for name, value in headers.items()}
    return await service.request("POST", path, bundle, headers=named)


def said_of(answer: Answer, entry: int = 1) -> str:
    """Part of the reply about one entry; the report is the second."""
    assert answer.status == 200, answer.text
    return json.dumps(answer.body["entry"][entry]["response"])


async def state(service: Service) -> dict[str, Any]:
    """All that is current, under its own identifiers instead of ids, which differ between tenants."""
    found = [
        one for kind in ("DiagnosticReport", "Observation", "Patient") for one in await _all(service, kind)
    ]
    names = {f"{one['resourceType']}/{one['id']}": one["identifier"][0]["value"] for one in found}
    return {
        f"{one['resourceType']} {one['identifier'][0]['value']}": _renamed(
            {name: value for name, value in one.items() if name not in ("id", "meta")}, names
        )
        for one in found
    }


async def versions(service: Service) -> dict[str, int]:
    """The number of the current version of each."""
    found = [
        one for kind in ("DiagnosticReport", "Observation", "Patient") for one in await _all(service, kind)
    ]
    return {
        f"{one['resourceType']} {one['identifier'][0]['value']}": int(one["meta"]["versionId"])
        for one in found
    }


async def _all(service: Service, kind: str) -> Iterable[Json]:
    answer = await service.search("_count=1000", type=kind)
    assert answer.status == 200, answer.text
    return [entry["resource"] for entry in answer.body.get("entry", [])]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            # What nobody has is told apart from what somebody has: a dangling reference would differ.
            name: names.get(inner, f"dangling {inner}") if name == "reference" else _renamed(inner, names)
            for name, inner in value.items()
        }
    return [_renamed(one, names) for one in value] if isinstance(value, list) else value
