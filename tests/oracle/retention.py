"""Retention by brute force: what is stored, served and counted, by the definitions in words.

Knows nothing of the store: resources are plain JSON, ends are counted anew each time they are asked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

Json = dict[str, Any]

ABOVE = {
    "DiagnosticReport": ("Observation", "Media", "Specimen", "Patient"),
    "Observation": ("Observation", "Specimen", "Patient"),
    "Media": ("Specimen", "Patient"),
    "Specimen": ("Patient",),
    "Condition": ("Patient",),
    "Patient": (),
    "Organization": (),
}
"""Types, and those that they keep alive."""
FOREVER = datetime.max.replace(tzinfo=UTC)


class Kept(NamedTuple):
    """Line of a policy."""

    days: int | None
    since: str = "received"
    type: str = ""
    category: str = ""
    status: str = ""


class Rules(NamedTuple):
    """A policy."""

    default: Kept
    lines: tuple[Kept, ...] = ()
    superseded: int | None = None


class Held(NamedTuple):
    """A hold."""

    kind: str
    subject: str
    until: datetime


@dataclass
class Version:
    """A version that was replaced."""

    number: int
    since: datetime
    subject: str | None = None
    """Patients it was ever about: a hold on one of them holds it, whomever the resource is about now."""
    ended: datetime = FOREVER


@dataclass
class One:
    """A resource: what is current, or that it was deleted, and its past."""

    content: Json | None
    number: int
    received: datetime
    needed: datetime | None = None
    """The last answer to: until when does anything need it."""
    past: list[Version] = field(default_factory=list)


def later(since: datetime, days: int | None) -> datetime:
    return FOREVER if days is None else since + timedelta(days=days)


def subject_of(content: Json | None) -> str | None:
    subject: str | None = (content or {}).get("subject", {}).get("reference")
    return subject


def date_of(content: Json, since: str) -> str | None:
    if since == "issued" and content["resourceType"] == "DiagnosticReport":
        return content.get("issued")
    return content.get("effectiveDateTime")


def references(content: Json) -> set[str]:
    found: set[str] = set()
    for value in content.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                inner = one.get("link", one)
                if "reference" in inner:
                    found.add(inner["reference"])
    return {one for one in found if one.partition("/")[0] in ABOVE[content["resourceType"]]}


class Model:
    """Tenant with its model."""

    def __init__(self) -> None:
        self.all: dict[str, One] = {}
        self.rules = Rules(Kept(None))
        self.holds: list[Held] = []
        self.counted: Counter[tuple[str, str]] = Counter()
        """(type, reason) → deleted by sweeps."""

    # --- when something ends

    def _line(self, content: Json) -> Kept | None:
        categories = {c["coding"][0]["code"] for c in content.get("category", ())}
        for line in self.rules.lines:
            fits = line.type in ("", content["resourceType"])
            fits = fits and (not line.category or line.category in categories)
            if fits and (not line.status or line.status == content.get("status")):
                return line
        return None

    def _own(self, one: One) -> tuple[datetime, datetime | None]:
        """By its own rule, and the least that a rule for its type asks."""
        assert one.content is not None
        line = self._line(one.content)
        if line is None and one.content["resourceType"] == "Organization":
            return FOREVER, FOREVER
        chosen = line or self.rules.default
        since = one.received
        said = None if chosen.since == "received" else date_of(one.content, chosen.since)
        if said is not None:
            since = min(since, datetime.fromisoformat(said).replace(tzinfo=UTC))
        end = later(since, chosen.days)
        return end, end if line is not None and line.type else None

    def end(self, key: str) -> datetime:
        """From then on it is not served."""
        one = self.all[key]
        if one.content is None:
            return later(one.received, self.rules.superseded)
        own, least = self._own(one)
        if one.needed is None:
            return own
        return one.needed if least is None else max(one.needed, least)

    def needers(self, key: str) -> list[str]:
        return [
            k for k, one in self.all.items() if one.content is not None and key in references(one.content)
        ]

    def tie(self) -> None:
        """Look at all that may be needed, what needs others first."""
        order = list(ABOVE)
        for _ in range(3):  # Observations need observations.
            for key in sorted(self.all, key=lambda key: order.index(key.partition("/")[0])):
                one = self.all[key]
                if one.content is not None:
                    ends = [self.end(needer) for needer in self.needers(key) if needer != key]
                    one.needed = max(ends) if ends else one.needed

    # --- what happens

    def put(self, content: Json, now: datetime) -> None:
        key = f"{content['resourceType']}/{content['id']}"
        one = self.all.get(key)
        if one is None:
            self.all[key] = One(content, 1, now)
        else:
            over = self.end(key) <= now
            if one.content == content and not over:
                self.tie()
                return
            ended = self.end(key)
            one.past.append(Version(one.number, now, subject_of(one.content)))
            if over and one.content is not None:
                for version in one.past:
                    version.ended = min(version.ended, ended)
            elif over:
                one.past[-1].ended = ended
            if over or one.content is None:
                one.needed = None
            one.content, one.number, one.received = content, one.number + 1, now
        self.tie()

    def delete(self, key: str, now: datetime) -> None:
        one = self.all.get(key)
        if one is None or one.content is None or self.end(key) <= now:
            return
        one.past.append(Version(one.number, now, subject_of(one.content)))
        one.content, one.number, one.received, one.needed = None, one.number + 1, now, None
        self.tie()

    def change(self, rules: Rules) -> None:
        self.rules = rules
        self.tie()

    # --- what is served

    def served(self, key: str, now: datetime) -> int | None:
        """The current version; negative when deleted; None when it is not there."""
        one = self.all.get(key)
        if one is None or self.end(key) <= now:
            return None
        return one.number if one.content is not None else -one.number

    def history(self, key: str, now: datetime) -> list[int]:
        one, current = self.all.get(key), self.served(key, now)
        if one is None or current is None:
            return []
        past = [v.number for v in reversed(one.past) if self.past_end(v) > now]
        return [abs(current), *past]

    def past_end(self, version: Version) -> datetime:
        return min(later(version.since, self.rules.superseded), version.ended)

    def found(self, kind: str, patient: str, now: datetime) -> set[str]:
        return {
            key
            for key, one in self.all.items()
            if one.content is not None
            and one.content["resourceType"] == kind
            and one.content.get("subject") == {"reference": patient}
            and self.end(key) > now
        }

    # --- what a sweep may take

    def is_held(self, key: str, now: datetime) -> bool:
        one = self.all[key]
        subject = subject_of(one.content)
        for hold in self.holds:
            if now < hold.until and (
                hold.kind == "tenant"
                or (hold.kind == "resource" and hold.subject == key)
                or (hold.kind == "patient" and hold.subject in (key, subject))
                or (hold.kind == "query" and (one.content or {}).get("status") == hold.subject
                    and key.startswith("DiagnosticReport/"))
            ):  # fmt: skip
                return True
        return False

    def is_past_held(self, key: str, version: Version, now: datetime) -> bool:
        """The hold may be on the resource, or on whom that version was about."""
        about = (h.subject for h in self.holds if h.kind == "patient" and now < h.until)
        return self.is_held(key, now) or version.subject in set(about)

    def stays(self, key: str, as_of: datetime, now: datetime, seen: frozenset[str] = frozenset()) -> bool:
        """Not over, or held, or needed by what stays."""
        if self.end(key) > as_of or self.is_held(key, now):
            return True
        if self.all[key].content is None:
            return False  # Nothing needs what is left of a deleted one.
        above = [needer for needer in self.needers(key) if needer not in seen]
        return any(self.stays(needer, as_of, now, seen | {key}) for needer in above)

    def swept(self, there: set[str], past: set[str], as_of: datetime, now: datetime, *, whole: bool) -> None:
        """Check of what is left after a sweep, whole or broken off: nothing may be gone that may not go."""
        taken = {key: self.stays(key, as_of, now) for key in self.all}
        for key, stays in taken.items():
            one, kind = self.all[key], key.partition("/")[0]
            left = [v for v in one.past if f"{key}/{v.number}" in past]
            if key not in there:
                assert not stays, f"{key} is gone"
                assert not left, f"of {key} something is left"
                self.counted[kind, "retention" if one.content is not None else "deleted"] += 1
                self._count(kind, "with-resource", len(one.past))
                continue
            assert stays or not whole, f"{key} is still there"
            gone = [v for v in one.past if v not in left]
            if stays:
                for version in one.past:
                    over = self.past_end(version) <= as_of and not self.is_past_held(key, version, now)
                    assert over or version in left, f"{key}/{version.number} is gone"
                    assert not (over and whole and version in left), f"{key}/{version.number} is still there"
                self._count(kind, "superseded", len(gone))
            else:
                self._count(kind, "with-resource", len(gone))
            one.past = left
        self.all = {key: one for key, one in self.all.items() if key in there}
        assert there == self.all.keys()

    def _count(self, kind: str, reason: str, number: int) -> None:
        if number:
            self.counted[kind, reason] += number
