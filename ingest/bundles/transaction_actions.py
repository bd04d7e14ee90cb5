"""Entries of a transaction as they ask, and the actions that they come down to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ingest.pipeline.bundle_entries import READING, Interaction
from store.fhir.references import Conditional
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from store.fhir.datatypes import JsonObject


Condition = Conditional
"""A search that must find one resource, or none."""


class Asked(NamedTuple):
    """Entry of a transaction, as it asks."""

    number: int
    full_url: str | None
    asks: Interaction

    @property
    def searches(self) -> bool:
        """Whether it is a search, and not about one resource."""
        return self.asks.method in READING and self.asks.id is None

    @property
    def condition(self) -> Condition | None:
        """Condition that says which resource the entry is about; None: its id or a search says it."""
        if self.asks.method in READING:
            return None
        criteria = self.asks.if_none_exist if self.asks.method == "POST" else self.asks.query
        return None if criteria is None else Condition(self.asks.type, criteria.removeprefix("?"))


@dataclass(frozen=True, slots=True)
class Put:
    """Store this resource."""

    number: int
    key: ResourceKey
    resource: JsonObject
    fresh: bool = False
    only_absent: bool = False
    """Whether `If-None-Match: *` was asked for."""
    only_unmatched: bool = False
    """The id comes from a condition that nothing fulfilled: when it is there, twins were faster."""
    if_match: str | None = None
    tolerances: tuple[str, ...] = ()
    """Deviations of its entry from R4."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this resource; None: the condition holds for none."""

    number: int
    key: ResourceKey | None
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class Existing:
    """The condition of a create holds for this one: nothing is stored."""

    number: int
    key: ResourceKey


@dataclass(frozen=True, slots=True)
class Read:
    """Read this resource."""

    number: int
    key: ResourceKey
    version: int | None = None
    """Version that is asked for; None: the current one."""
    if_none_match: str | None = None
    if_modified_since: str | None = None
    query: str | None = None
    """Query that says which part of it is asked for."""


@dataclass(frozen=True, slots=True)
class Search:
    """Search, and see what the transaction has stored."""

    number: int
    type: str
    query: str


Action = Put | Delete | Existing | Read | Search


Found = dict[Condition, tuple[ResourceKey, ...]]
"""The matches of each condition, as many as are needed to know that there is more than one."""
