"""Words of the model of truth: people, sources with their habits, and statements about things by source time.

A thing is named by the world (`Patient ann`, `DiagnosticReport 3`), never by an id or a number: how a
message writes it down is `habits.py`, how the service tells things apart is its own concern.
Nothing here knows the service.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

V2: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
LOINC: Final = "http://loinc.org"
START: Final = datetime(2026, 11, 1, tzinfo=UTC)


class Hold(StrEnum):
    """Reach of newer news about a thing into what a report leads to."""

    EXACT = "exact"
    """The thing lies within its report, or is what it says: exactly what the report's message said."""
    NEWER = "newer"
    """The thing has a number that may be known elsewhere: what was said, or something said of it later."""
    NEWEST = "newest"
    """The thing is known by a record number: its newest news, in whatever message."""


class Ids(StrEnum):
    """Habits of sources in giving ids to entries."""

    STABLE = "stable"
    """UUIDs that name one thing for ever."""
    FROZEN = "frozen"
    """The same, but specimens and media have one and the same UUID in every message."""
    SLUG = "slug"
    """Named for the role (`report-cbc`, `patient`): the next patient's have the same."""
    LOCAL = "local"
    """Counted in each message: `obs1`, `Patient/1`."""
    FRESH = "fresh"
    """New UUIDs in each message, referred to as urn:uuid."""
    NONE = "none"
    """None: entries have a `fullUrl` only."""


class Source(NamedTuple):
    """A sender of messages and its habits."""

    name: str
    ids: Ids
    endpoint: str | None
    roots: tuple[str, ...]
    """Roots of the `fullUrl`s; two: the reports of one message come from two servers."""
    document: bool = False
    """Whether it hands over document Bundles that are loaded."""


class Said(NamedTuple):
    """Statement of a message about one thing."""

    thing: str
    body: Json
    """Without id; a reference holds the name of the thing."""
    hold: Hold
    group: int = 0
    """Number of the report that brought it, for sources that write from two roots."""
    role: str = ""
    replaces: str | None = None
    """For a Patient: the person whose record was merged into this one."""

    @property
    def type(self) -> str:
        return str(self.body["resourceType"])


class Sent(NamedTuple):
    """Message of a source."""

    minute: int
    source: Source
    said: tuple[Said, ...]
    kind: str
    """Name of the scenario that it belongs to."""
    later: bool = False
    """Whether it is sent once all that is not is acknowledged: a correction of what else nobody had."""

    @property
    def time(self) -> str:
        return moment(self.minute)

    @property
    def reports(self) -> tuple[Said, ...]:
        return tuple(one for one in self.said if one.type == "DiagnosticReport")


def moment(minute: int) -> str:
    """A moment of the source."""
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def number(system: str, value: str, kind: str | None = None, **more: Any) -> Json:
    """An identifier, typed by v2-0203 or untyped."""
    typed = {"type": {"coding": [{"system": V2, "code": kind}]}} if kind else {}
    return {**typed, "system": f"urn:made-up:{system}", "value": value, **more}


def coded(code: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code}], "text": f"code {code}"}


def to(thing: str) -> Json:
    """A reference to a thing of the world."""
    return {"reference": thing}


class Person(NamedTuple):
    """Somebody, as the record said from each minute on."""

    name: str
    states: tuple[tuple[int, Json], ...]
    hold: Hold
    replaces: tuple[int, str] | None = None
    """The minute of a merge, and whose record was retired by it."""

    @property
    def thing(self) -> str:
        return f"Patient {self.name}"

    def at(self, minute: int, *, group: int = 0, **more: Any) -> Said:
        """Statement about the person in a message of this minute."""
        body = [state for since, state in self.states if since <= minute][-1]
        merged = self.replaces[1] if self.replaces and self.replaces[0] <= minute else None
        return Said(self.thing, {**body, **more}, self.hold, group, "patient", merged)
