"""Topics that a Subscription may name: for each canonical URL the resource type and the changes. Pure.

Every type has the topic of all its changes, `urn:data-on-demand:topic:{Type}`, and that of new resources;
DiagnosticReport has one of its completion as well. Filters narrow a topic: they are searches on its type.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "urn:data-on-demand:topic:"
REPORT: Final = "DiagnosticReport"
UNTOLD: Final = frozenset({"Subscription"})
"""Types without a topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Changes of one resource type that can be subscribed to."""

    name: str
    type: str
    title: str
    new_only: bool = False
    """Whether only the creation of a resource is told."""
    filter: str = ""
    """Search that the resource must match, whatever a subscriber asks for."""

    @property
    def canonical(self) -> str:
        """URL by which a Subscription names the topic."""
        return f"{PREFIX}{self.name}"


COMPLETED: Final = Topic(
    f"{REPORT}-completed",
    REPORT,
    "Reports that are final, and all that changes in them from then on",
    filter="status=final,amended,corrected,appended",
)


def _topics() -> Iterator[Topic]:
    for name in TYPES:
        if name not in UNTOLD:
            yield Topic(name, name, f"All changes of {name}: created, updated, deleted, erased")
            yield Topic(f"{name}-created", name, f"New resources of the type {name}", new_only=True)
    yield COMPLETED


TOPICS: Final[Mapping[str, Topic]] = MappingProxyType({one.canonical: one for one in _topics()})
"""Topics by their canonical URL."""


def topic_of(canonical: str) -> Topic | None:
    """The topic of a canonical URL, with a version (`|…`) or without; None: there is no such topic."""
    return TOPICS.get(canonical.partition("|")[0])
