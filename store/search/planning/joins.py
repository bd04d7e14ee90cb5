"""Chains by identifier: followed within one command, or looked up together with those of other searches.

Within one command its targets are found, and from there what refers to them. The plan is made as if the chain
led to one resource of unknown id, in whose place stands what no text has; the index entries that name it
become templates, filled in by the database for each target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from store.search.criteria import Chain, Tokens, steps
from store.search.values.tokens import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from store.search.criteria import Clause
    from store.search.filters import Filter

PLACE: Final = "\ud800"
"""Place of a target's id: half of a character, which no search and no resource holds. No plan lets it out."""
TARGETS: Final = "targets"
"""The variable that holds the targets as references."""
IDENTIFIER: Final = "identifier"
IDENTIFIERS: Final = f"index.{IDENTIFIER}"
FEW: Final = 8
"""Identifiers that a chain may name, and targets that it may lead to, to be looked up with others."""

_NOTHING: Final[frozenset[str]] = frozenset()
_NO_KIN: Final[Mapping[str, Any]] = MappingProxyType({})
KIN: Final = "identity.kin"
"""The field of a Patient that names the other records of the same patient: merged, or doubted and linked."""


@dataclass(frozen=True, slots=True)
class Join:
    """Makings of a plan's index entries, when they are not known beforehand."""

    targets: Filter
    """Filter for the targets that the chain leads through."""
    templates: Mapping[str, tuple[tuple[str, str], ...]]
    """Templates by the target's type: what stands before and behind its id in the entries of what refers to
    it.
    """
    entries: tuple[str, ...]
    """Entries that hang on no target."""
    tested: bool
    """Whether the filter asks for the targets as well."""

    @property
    def several(self) -> bool:
        """Whether one target makes several entries."""
        return any(len(made) > 1 for made in self.templates.values())


def joinable(clauses: Iterable[Clause]) -> Chain | None:
    """The only chain of a search, when it leads to identifiers; None: there is no such chain.

    Few resources are surely found at its end, and those of contained ones are entries of their owner.
    """
    found = list(steps(clauses))
    chain = found[0] if len(found) == 1 else None
    if not isinstance(chain, Chain) or not chain.parameter.keyed or not chain.identifiers:
        return None
    return chain if all(_identifies(inner) for _, inner in chain.inner) else None


def _identifies(inner: Clause) -> bool:
    return (
        isinstance(inner, Tokens)
        and inner.parameter.keyed == 1
        and not inner.negated
        and all(map(bare, inner.spellings))
    )


def shareable(chain: Chain) -> bool:
    """Whether its targets can be looked up together with those of other chains."""
    named = [spellings_of(inner) for _, inner in chain.inner]
    return all(named) and sum(map(len, named)) <= FEW


def spellings_of(inner: Clause) -> tuple[str, ...]:
    """The identifiers that a clause behind a chain asks for; empty: it asks for something else."""
    return inner.spellings if isinstance(inner, Tokens) and inner.parameter.field == IDENTIFIERS else ()


def led_to(chain: Chain, documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Targets of this chain, among what was found for several: `Type/id`."""
    asked = {target: frozenset(spellings_of(inner)) for target, inner in chain.inner}
    found = [
        target
        for one in documents
        if not asked.get(one["type"], _NOTHING).isdisjoint(one["index"][IDENTIFIER])
        for target in with_kin(one)
    ]
    return tuple(found if len(found) < 2 else dict.fromkeys(found))  # noqa: PLR2004 -- one has no twin


def with_kin(document: Mapping[str, Any]) -> list[str]:
    """`Type/id` of a target, and of the other records of the same patient."""
    found = [f"{document['type']}/{document['id']}"]
    kin = document.get("identity", _NO_KIN).get("kin")
    return [*found, *(f"{document['type']}/{one}" for one in kin)] if kin else found


def places(chain: Chain) -> tuple[str, ...]:
    """A target of unknown id for each type the chain may lead to."""
    return tuple(f"{target}/{PLACE}" for target, _ in chain.inner)


def join(chain: Chain, targets: Sequence[Filter], keys: Iterable[str], *, tested: bool) -> Join | None:
    """Join that makes the entries of a driver; None when no entry hangs on a target."""
    entries: list[str] = []
    templates: dict[str, tuple[tuple[str, str], ...]] = {}
    for entry in keys:
        for target, _ in chain.inner:
            before, place, behind = entry.partition(f"{target}/{PLACE}")
            if place:
                templates[target] = (*templates.get(target, ()), (f"{before}{target}/", behind))
                break
        else:
            entries.append(entry)
    return Join(_merged(targets), templates, tuple(entries), tested) if templates else None


def _merged(filters: Sequence[Filter]) -> Filter:
    """Filter for several types: they mostly differ in the type alone."""
    first, *others = filters
    if all({**one, "type": first["type"]} == first for one in others):
        return {**first, "type": {"$in": [one["type"] for one in filters]}} if others else first
    return {"$or": list(filters)}
