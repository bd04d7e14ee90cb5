"""Placements: the decisions of a plan on who each entry of a message is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ingest.pipeline.identity.decisions import Candidate, Choice
from ingest.pipeline.identity.facts import Facts
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from ingest.pipeline.identity.patient_records import Kin
    from store.fhir.datatypes import JsonObject


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
        """The key of each entry."""
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


class Race(NamedTuple):
    """Knowledge for planning a message again, behind its own write."""

    seen: frozenset[str] = frozenset()
    """Ids of the candidates of the first plan."""
    mine: frozenset[str] = frozenset()
    """Ids of what this message made itself: no evidence of others."""
    gone: tuple[Candidate, ...] = ()
    """Reports of others that an earlier look behind the write met, and this one does not."""
