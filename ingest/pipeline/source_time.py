"""Time that a source gives for a resource of its message: older evidence never overwrites newer.

The best evidence first: the resource's own `meta.lastUpdated`, the message's `Bundle.timestamp` (or what
stands for it), `issued`. Two contents are compared by their best one, then by the next; results of one
time by whether they are settled. What lies far in the future (`DOD_SOURCE_AHEAD_SECONDS`) is no evidence,
else one wrong clock would keep a resource as it is for ever.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.instants import parse, to_datetime
from store.resources.versions import SourceTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from store.fhir.datatypes import Json, JsonObject

RESULTS: Final = frozenset({"DiagnosticReport", "Observation"})
SETTLED: Final = frozenset({"final", "amended", "corrected", "appended", "cancelled", "entered-in-error"})
"""Statuses behind which a result does not go back to a preliminary one; among them any may follow any."""
_STAGES: Final = ("!0", "!1")
"""Ranks of not settled and settled. Below every digit: more evidence of the time counts for more."""


def message_time(bundle: JsonObject, header: JsonObject | None) -> Json:
    """Time at which the message says it was made; MessageHeader.timestamp is where STU3 had it."""
    held = (
        bundle.get("timestamp"),
        (header or {}).get("timestamp"),
        _updated(bundle),
        _updated(header or {}),
    )
    return next((one for one in held if isinstance(one, str)), None)


class Evidence(NamedTuple):
    """Evidence of when a source said something."""

    sourced: SourceTime
    """All that is believed, comparable as text."""
    ahead: bool
    """Whether a time among it is not believed."""


def evidence_of(resource: JsonObject, *, message: Json, latest: datetime) -> Evidence:
    """Evidence of when the source said a resource; a time behind `latest` is not believed."""
    instants = list(_instants(resource, message))
    told = [text for moment, text in instants if moment <= latest]
    ahead = len(told) < len(instants)
    if told and resource.get("resourceType") in RESULTS:
        status = resource.get("status")
        told.append(_STAGES[isinstance(status, str) and status in SETTLED])
    return Evidence(" ".join(told), ahead)


def source_time(resource: JsonObject, *, message: Json, latest: datetime) -> SourceTime:
    """Times of a source that are believed, comparable as text."""
    return evidence_of(resource, message=message, latest=latest).sourced


def _instants(resource: JsonObject, message: Json) -> Iterator[tuple[datetime, str]]:
    for text in (_updated(resource), message, resource.get("issued")):
        if not isinstance(text, str) or "T" not in text:
            continue
        try:
            yield _instant(text)
        except (ValueError, OverflowError):
            continue  # Whether it may stand there is for the validation to say.


@lru_cache(maxsize=1_024)
def _instant(text: str) -> tuple[datetime, str]:
    """A moment, and how it is compared. Remembered: all resources of a message are from about one time."""
    moment = to_datetime(parse(text).start)
    return moment, f"{moment.year:04}-{moment:%m-%dT%H:%M:%S.%f}Z"


def _updated(element: JsonObject) -> Json:
    meta = element.get("meta")
    return meta.get("lastUpdated") if isinstance(meta, dict) else None
