"""Decisions about who is who: the stored id of each entry, and what reply and metric say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ingest.pipeline.identity.facts import Facts
from store.fhir.datatypes import JsonObject
from store.resources.resource_keys import ResourceKey
from store.resources.versions import SourceTime

if TYPE_CHECKING:
    from collections.abc import Iterable


OBSERVATION: Final = "Observation"
Kin: TypeAlias = Mapping[str, frozenset[tuple[str, str]]]
"""Records of one person by id, each with the numbers by which it was taken for theirs; none: by any."""


class Finding(StrEnum):
    """Something about an identity, or what is news of it, that a person may have to look at."""

    PATIENT_DOUBTED = "patient-doubted"
    PATIENT_CHANGED = "patient-changed"
    PATIENTS_LINKED = "patients-linked"
    REPORT_DOUBTED = "report-doubted"
    REPORT_MOVED = "report-moved"
    REPORT_MENDED = "report-mended"
    REPORT_UNITED = "report-united"
    OBSERVATION_DOUBTED = "observation-doubted"
    REFERENCE_UNRESOLVED = "reference-unresolved"
    TIME_AHEAD = "time-ahead"


TEXTS: Final[Mapping[Finding, str]] = {
    Finding.PATIENT_DOUBTED: (
        "A stored patient shares a number with this one, but not what else is known: they are two patients."
    ),
    Finding.PATIENT_CHANGED: "Name and birth date changed at once: check that it is one person.",
    Finding.PATIENTS_LINKED: "Patient records were linked: a search by the number of either finds both.",
    Finding.REPORT_DOUBTED: (
        "A stored report shares the number of this one, but not its patient, time, specimen or id: they are"
        " two reports."
    ),
    Finding.REPORT_MOVED: "The report moved here from another patient, whose searches no longer show it.",
    Finding.REPORT_MENDED: (
        "The report was corrected since: it is another patient's, and what this says of it is in its history."
    ),
    Finding.REPORT_UNITED: "Another stored report turned out to be this one and left the current data.",
    Finding.OBSERVATION_DOUBTED: (
        "Stored observations share the number of this one, but not its report, patient, code or time: it is"
        " another one."
    ),
    Finding.REFERENCE_UNRESOLVED: (
        "A reference leads to nothing in the message: it was kept as one of the source's and is not resolved."
    ),
    Finding.TIME_AHEAD: (
        "The source's time lies too far in the future to tell which news is newer: set the source's clock."
    ),
}
"""Text of the reply for each finding; never a value."""


def findings_of(notes: Iterable[str]) -> list[Finding]:
    """Findings whose texts are among the notes of what a message made, each once."""
    said = set(notes)
    return [finding for finding, text in TEXTS.items() if text in said]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored resource that may be the one that is pushed."""

    key: ResourceKey
    facts: Facts
    sourced: SourceTime = ""
    retired: bool = False
    """Whether it left the current data with a version of its report, and may come back."""
    arrived: int = field(default=0, compare=False)
    """Moment of its current version, in microseconds: two of no time are told apart by it."""
    shown: frozenset[str] = frozenset()
    """Ids of the reports that show an observation, which was pushed by itself."""
    behind: frozenset[str] = field(default=frozenset(), compare=False)
    """Ids of reports that other senders decided upon this one, at the same time as its own."""


class Choice(NamedTuple):
    """Decision on who a pushed resource is."""

    id: str
    """Id in the store."""
    findings: tuple[Finding, ...] = ()
    known: Candidate | None = None
    """The stored resource that it is; None: it is new."""
    united: tuple[Candidate, ...] = ()
    """Stored resources that are the same one as this and leave the current data."""
    kin: tuple[Candidate, ...] = ()
    """Stored records of the same patient."""
    also: tuple[str, ...] = ()
    """Ids of stored copies: of an observation, one in each report; of a patient, made at once."""
    latest: Candidate | None = None
    """The one of a patient's records whose news is newest, when others lag behind it."""
    behind: tuple[str, ...] = ()
    """Ids of the records that lag behind."""
    moved_from: str = ""
    """The patient that a report was about until now, when it is another."""


class Placement(NamedTuple):
    """Entry with its identity."""

    key: ResourceKey
    resource: JsonObject
    """Resource as it came, with the references of the store."""
    facts: Facts
    choice: Choice
    unresolved: tuple[str, ...] = ()
    """References that lead to nothing."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Decisions on all entries of a message."""

    placements: tuple[Placement, ...]
    kin: tuple[Kin, ...] = ()
    """Patients' records that are of one person each, and not all known as such."""
    patientless: tuple[int, ...] = ()
    """Reports whose patient cannot be told."""

    @property
    def ids(self) -> tuple[ResourceKey, ...]:
        """`Type/id` under which each entry of the message is stored, in order."""
        return tuple(one.key for one in self.placements)

    @property
    def keys(self) -> tuple[ResourceKey, ...]:
        """Keys of the entries and of their copies."""
        return tuple(
            ResourceKey(one.key.type, name)
            for one in self.placements
            for name in (one.key.id, *one.choice.also)
        )

    @property
    def unfinished(self) -> bool:
        """Whether records are to be linked or to learn of news, or stored reports turned out to be one."""
        return bool(self.kin) or any(
            one.choice.united or one.choice.latest is not None for one in self.placements
        )

    @property
    def left(self) -> tuple[ResourceKey, ...]:
        """Keys of observations by themselves that leave, as a report has them too."""
        return tuple(
            other.key
            for placed in self.placements
            if placed.key.type == OBSERVATION
            for other in placed.choice.united
        )

    @property
    def takes(self) -> bool:
        """Whether a report of another person moves to one of the message, or leaves for one, or an
        observation by itself for that of its report.
        """
        return bool(self.left) or any(
            not {placed.choice.moved_from, *(one.facts.patient for one in placed.choice.united)}
            <= {"", *self.records_of(placed.facts.patient)}
            for placed in self.placements
            if placed.choice.moved_from or placed.choice.united
        )

    def records_of(self, patient: str) -> set[str]:
        """`Patient/id` of the records of a person, of which this is one."""
        mine = (one for one in self.placements if str(one.key) == patient)
        linked = (group for group in self.kin if patient.partition("/")[2] in group)
        ids = (
            *(name for one in mine for name in one.facts.kin),
            *(name for group in linked for name in group),
        )
        return {patient, *(f"Patient/{name}" for name in ids)}


class Race(NamedTuple):
    """Knowledge for planning a message again, behind its own write."""

    seen: frozenset[str] = frozenset()
    """Ids of the candidates of the first plan."""
    mine: frozenset[str] = frozenset()
    """Ids of what this message made itself: no evidence of others."""
    gone: tuple[Candidate, ...] = ()
    """Reports of others that an earlier look behind the write met, and this one does not."""
