"""The decision of an erasure about resources that no index ties to a patient: which go, and which stay. Pure.

A companion goes when all that needs it goes. A resource that only refers to what goes, and to nothing that
stays, tells of the patient and goes too. A resource that stays keeps what it refers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from store.mongo.erasure.belongings import Item, may_go
from store.retention.erasure import About

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

ANOTHERS: Final = "another's"
"""Needer of a companion that is another patient's resource: it never goes."""


class Telling(NamedTuple):
    """A resource that tells of the patient, or refers to something that may go."""

    item: Item
    about: About


@dataclass(frozen=True, slots=True)
class Undecided:
    """Evidence on resources of which no index says whose they are; all by `Type/id`."""

    ours: AbstractSet[str]
    """Resources that go whatever is decided here."""
    references: AbstractSet[str]
    """References by which the patient is known."""
    candidates: Mapping[str, Item]
    """Companions of what goes."""
    telling: Mapping[str, Telling]
    """Resources that tell of the patient, or refer to what may go."""
    needing: Mapping[str, AbstractSet[str]]
    """Resources that refer to each candidate; `ANOTHERS` for another patient's."""

    @property
    def indirect(self) -> set[str]:
        """Resources that say nothing of the patient themselves."""
        return {name for name, (_, said) in self.telling.items() if not said.own} - set(self.candidates)


def neighbours_of(undecided: Undecided) -> set[str]:
    """Further resources that the indirect ones refer to: those that are stored stay."""
    known = undecided.ours | set(undecided.candidates) | undecided.references
    referred = {to for name in undecided.indirect for to in undecided.telling[name].item.refers}
    return {to for to in referred - known if may_go(to)}


def going_of(undecided: Undecided, staying: AbstractSet[str]) -> list[Item]:
    """The items that go. `staying`: the neighbours that are stored."""
    ours, telling, candidates = undecided.ours, undecided.telling, undecided.candidates
    going = {name for name, (_, said) in telling.items() if said.own and not said.others}
    free, indirect = set(candidates), undecided.indirect
    stays = set(staying)
    while True:
        told = {
            name
            for name in indirect
            if not telling[name].item.refers.isdisjoint(ours | going | free)
            and telling[name].item.refers.isdisjoint(stays)
        }
        kept = {
            name
            for name in free
            if not undecided.needing.get(name, frozenset()) <= ours | going | told | (free - {name})
        }
        # What stays needs what it refers to.
        kept |= {to for name in kept for to in candidates[name].refers & free}
        if not kept:
            break
        free -= kept
        stays |= kept
    # A candidate is the deeper reading of one resource: it comes last.
    items = {telling[name].item.id: telling[name].item for name in going | told}
    return list((items | {candidates[name].id: candidates[name] for name in free}).values())


def shared_of(undecided: Undecided) -> set[str]:
    """`_id` of the resources that are about another patient too, and stay."""
    return {item.id for item, said in undecided.telling.values() if said.own and said.others}
