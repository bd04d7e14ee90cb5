"""Findings of an erasure on one patient: items to delete, and items that are another's too. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from store.retention.erased_names import is_whole, references
from store.retention.erasure import KnownAs, is_about_patients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.retention.erasure import FullName

_OF_NOBODY: Final = frozenset({"Patient", "Device", "Group"})
"""Types that are no part of the report that refers to them: machines and groups stay."""


@dataclass(frozen=True, slots=True)
class Item:
    """Document to delete."""

    id: str
    """`_id` of the document."""
    name: str
    """`Type/id`."""
    version: int
    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Keys of the patients that it is about; of a past version, those stored in its `of` field."""
    refers: frozenset[str] = frozenset()
    """`Type/id` of what its bytes refer to."""
    identifiers: tuple[str, ...] = ()
    """Identifiers of the resource itself, with their systems."""
    gone: bool = False
    """Whether it is the tombstone of a deleted resource."""
    past: bool = False
    """Whether it is in the history."""
    depth: int = 0
    """Number of references that lead to a resource which only others lead to."""

    @property
    def type(self) -> str:
        """Resource type."""
        return self.name.partition("/")[0]


@dataclass(slots=True)
class Belongings:
    """All of one patient."""

    own: KnownAs
    patients: dict[str, Item] = field(default_factory=dict)
    """The Patients themselves, by `_id`; they go last, for all else is found from them."""
    current: dict[str, Item] = field(default_factory=dict)
    past: dict[str, Item] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    """`_id` of items that are about another patient too, and stay."""
    names: list[FullName] = field(default_factory=list)

    def everything(self) -> dict[str, Item]:
        """All resources that belong to the patient by key, current and past versions, the Patients too."""
        return {**self.current, **self.past, **self.patients}


def item_of(document: Mapping[str, Any]) -> Item:
    """The item of a stored document, current or past."""
    resource_type = document.get("type") or document.get("was")
    index = document.get("index") or {}
    return Item(
        id=document["_id"],
        name=f"{resource_type}/{document['id']}",
        version=document["version"],
        files=tuple(document.get("files", ())),
        keys=tuple(document.get("keys") or document.get("of") or ()),
        refers=frozenset(references(document.get("raw") or b"")),
        identifiers=tuple(filter(is_whole, index.get("identifier", ()))),
        gone=bool(document.get("deleted")) and "raw" not in document,
    )


def may_go(name: str) -> bool:
    """Whether a companion of this name can be part of a patient's record."""
    resource_type = name.partition("/")[0]
    return resource_type not in _OF_NOBODY and is_about_patients(resource_type)
