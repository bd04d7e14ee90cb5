"""Following `_include` and `_revinclude` from the matches of one page.

Forward, the stored spellings of a reference that are `Type/id` are read by `_id`, all of a round together;
backwards, each parameter is a search driven by the index. Rounds go on for what iterates.
https://hl7.org/fhir/R4/search.html#include
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.fhir.references import RELATIVE
from store.fhir.resource_types import NOT_ABOUT_PATIENTS, SHARED
from store.resources.pages import Entry
from store.resources.resource_keys import ResourceKey
from store.search.criteria import References, SearchQuery, Tokens
from store.search.parameters import TYPES
from store.search.parsing.includes import references_of
from store.search.planning.conditions import condition
from store.search.planning.leading_clause import DRIVING_KEYS_MAX
from store.search.planning.plan import FindPlan, plan
from store.search.values.tokens import bare, is_bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from store.mongo.search.snapshot import View
    from store.search.criteria import Include
    from store.search.parameters import Parameter
    from store.tenancy import Tenant

    Document = Mapping[str, Any]

_IDENTIFIED: Final = "index.patient:identifier"
"""Field of the identifiers by which a resource names its patient."""
ROUNDS_MAX: Final = 4
"""References between a match and what `:iterate` still includes."""


def projection(includes: Sequence[Include]) -> dict[str, int]:
    """Fields to read of each resource to follow these includes from it; none when there are no includes."""
    fields: dict[str, int] = {"type": 1} if includes else {}
    for include in includes:
        if include.reverse:
            fields |= {"index.patient": 1, _IDENTIFIED: 1}
        else:
            fields.update((row.field, 1) for row in _rows(include, include.source))
    return fields


class Included(NamedTuple):
    """Resources that a page brings along."""

    entries: tuple[Entry, ...]
    matches: int
    """Number of the matches that they belong to: the others are for the next page."""
    complete: bool
    """Whether all fits; else one match alone brings along more, and the rest is left out."""
    unfound: bool
    """Whether something was not looked for: a resource names no patient, or many share it."""


def follow(  # noqa: PLR0913 -- what a search is made of
    view: View,
    tenant: Tenant,
    query: SearchQuery,
    matches: Sequence[Document],
    *,
    includes_max: int,
    now: datetime,
) -> Included:
    """Resources that the matches bring along, nothing twice and no match, in the order they were found.

    When that is more than `includes_max`, or than the bytes that the matches leave, it is followed from half
    of the matches, and so on: what they bring along is known only when it was read.
    """
    shown = matches
    while True:
        gathering = _Gathering(query, shown, includes_max)
        _gather(view, tenant, query, gathering, now=now)
        if not gathering.full or len(shown) == 1:
            found = tuple([Entry(ResourceKey(d["type"], d["id"]), d["raw"]) for d in gathering.included])
            return Included(found, len(shown), not gathering.full, gathering.unfound)
        shown = shown[: len(shown) // 2]


class _Gathering:
    """Resources found so far, and the room that is left for more."""

    def __init__(self, query: SearchQuery, matches: Sequence[Document], includes_max: int) -> None:
        self.matches = matches
        self.seen = {_spelling(one) for one in matches}
        self.included: list[Document] = []
        self.room = includes_max
        self.full = False
        self.unfound = False
        self._bytes_left = query.bytes_max - sum(len(one["raw"]) for one in matches)

    def take(self, document: Document) -> bool:
        """Whether it is new and fits."""
        if self.full or (spelling := _spelling(document)) in self.seen:
            return False
        self._bytes_left -= len(document["raw"])
        self.room -= 1
        if self.room < 0 or self._bytes_left < 0:
            self.full = True
            return False
        self.seen.add(spelling)
        self.included.append(document)
        return True


def _gather(view: View, tenant: Tenant, query: SearchQuery, gathering: _Gathering, *, now: datetime) -> None:
    """Follow the includes from the matches, round by round, until nothing is left or it is full."""
    fields = {"_id": 0, "id": 1, "raw": 1, **projection(query.includes)}
    frontier, includes = list(gathering.matches), query.includes
    for _ in range(ROUNDS_MAX):
        fresh: list[Document] = []
        gathering.unfound |= any(_loses(query, one, frontier) for one in includes)
        for one in _plans(tenant, query, includes, frontier, gathering.seen, now=now):
            # Those seen already may be found again.
            bounded = replace(one, limit=gathering.room + len(gathering.seen) + 1)
            found = view.first(bounded, fields)
            fresh += filter(gathering.take, found.documents)
            gathering.full = gathering.full or found.more
            if gathering.full:
                return
        frontier, includes = fresh, tuple(one for one in includes if one.iterate)
        if not (frontier and includes):
            return


def _plans(  # noqa: PLR0913 -- what a round is made of
    tenant: Tenant,
    query: SearchQuery,
    includes: Sequence[Include],
    frontier: Sequence[Document],
    seen: set[str],
    *,
    now: datetime,
) -> Iterator[FindPlan]:
    """Finds of one round: targets by id, and for each reverse include the resources that refer to these."""
    wanted = dict.fromkeys(
        target
        for include in includes
        if not include.reverse
        for document, target in _targets(include, frontier)
        if target not in seen and _is_shown(query, document, target.partition("/")[0])
    )
    if wanted:
        yield _by_id(str(tenant), list(wanted), query, now=now)
    for include in includes:
        if include.reverse and _is_visible(query, include.source):
            yield from _referring(tenant, query, include, frontier, now=now)


def _is_visible(query: SearchQuery, resource_type: str) -> bool:
    return query.visible is None or resource_type in query.visible


def _by_id(tenant: str, wanted: Sequence[str], query: SearchQuery, *, now: datetime) -> FindPlan:
    found: dict[str, object] = {
        "_id": {"$in": [f"{tenant}/{one}" for one in wanted]},
        "tenant": tenant,
        "type": {"$exists": True},  # A deleted resource has none.
        "expires_at": {"$gt": now},
    }
    if query.within:
        parts = [{"type": name, "$and": [condition(clause, {})]} for name, clause in query.within]
        found["$or"] = [{"type": {"$nin": [name for name, _ in query.within]}}, *parts]
    return FindPlan(filter=found, sort=(), limit=0, hint="_id_", described=lambda: "include", matching=found)


def _is_shown(query: SearchQuery, document: Document, target: str) -> bool:
    """Whether targets of a type come along with a document that refers to them."""
    return _is_visible(query, target) and not _leads_to_many(query, document, target)


def _targets(include: Include, frontier: Sequence[Document]) -> Iterator[tuple[Document, str]]:
    """The resources of ours that these documents refer to: `Type/id`, whatever version was meant."""
    for document in frontier:
        if include.source not in ("*", document["type"]):
            continue
        index = document.get("index", {})
        for row in _rows(include, document["type"]):
            for spelling in index.get(row.name, ()):
                match = RELATIVE.fullmatch(spelling)
                if match is not None and include.target in (None, match[1]):
                    yield document, spelling


def _rows(include: Include, resource_type: str) -> Iterable[Parameter]:
    if include.parameter is not None:
        return (include.parameter,)
    types = TYPES.values() if resource_type == "*" else (TYPES[resource_type],)
    return (row for one in types for row in references_of(one))


def _referring(
    tenant: Tenant, search: SearchQuery, include: Include, frontier: Sequence[Document], *, now: datetime
) -> Iterator[FindPlan]:
    """Finds for what refers to these documents, each with as many keys as may drive."""
    row = include.parameter
    targets = [
        one
        for one in frontier
        if include.target in (None, one["type"]) and not _is_out_of_bounds(search, include, one)
    ]
    if row is None or not targets:
        return
    within = [clause for name, clause in search.within if name == include.source]
    spellings = tuple(_spelling(one) for one in targets)
    if row.keyed:
        clauses: list[tuple[References | Tokens, ...]] = [
            (References(row, some),) for some in _chunks(spellings)
        ]
    else:
        clauses = [(one, References(row, spellings)) for one in _of_patients(include.source, targets)]
    for both in clauses:
        query = SearchQuery(include.source, (*both, *within))
        yield replace(plan(str(tenant), query, resolved={}, now=now), sort=())


def _loses(query: SearchQuery, include: Include, frontier: Sequence[Document]) -> bool:
    """Whether an include leads out of bounds, or back by the patient from a resource that names none."""
    if not include.reverse:
        found = ((document, target.partition("/")[0]) for document, target in _targets(include, frontier))
        return any(_is_visible(query, type_) and _leads_to_many(query, one, type_) for one, type_ in found)
    if include.parameter is None or not _is_visible(query, include.source):
        return False
    row = include.parameter
    targets = (one for one in frontier if include.target in (None, one["type"]))
    return any(
        _is_out_of_bounds(query, include, one) or (not row.keyed and not _names_a_patient(one))
        for one in targets
        if one["type"] in row.targets
    )


def _is_out_of_bounds(query: SearchQuery, include: Include, document: Document) -> bool:
    """Whether a way back leads from what many patients share to all of them.

    `DECISIONS.md#patient-scope`
    """
    return query.of_a_patient and include.source not in NOT_ABOUT_PATIENTS and _is_shared(document)


def _leads_to_many(query: SearchQuery, document: Document, target: str) -> bool:
    """Whether a reference leads from what many patients share to them: a group to its members."""
    return query.of_a_patient and target not in SHARED and _is_shared(document)


def _is_shared(document: Document) -> bool:
    return document["type"] in SHARED and not _names_a_patient(document)


def _names_a_patient(document: Document) -> bool:
    return any(_patients(document)) or any(_identified(document))


def _of_patients(source: str, targets: Sequence[Document]) -> Iterator[References | Tokens]:
    """Clauses for what is about the patients of these, by reference or by identifier.

    A patient's resources refer to those of the same patient (`search.parsing.includes.reversible`).
    """
    patient = TYPES[source].by_name["patient"]
    for some in _chunks(tuple(dict.fromkeys(p for one in targets for p in _patients(one)))):
        yield References(patient, some)
    for some in _chunks(tuple(dict.fromkeys(p for one in targets for p in _identified(one)))):
        yield Tokens(patient.logical, some)


def _identified(document: Document) -> Iterable[str]:
    """Identifiers by which a resource names its patient, with their system, or that there is none."""
    spelled = document.get("index", {}).get("patient:identifier", ())
    return (one for one in spelled if bare(one) and not is_bare(one))


def _patients(document: Document) -> Iterable[str]:
    own = (_spelling(document),) if document["type"] == "Patient" else ()
    return (*own, *document.get("index", {}).get("patient", ()))


def _chunks(spellings: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(spellings), DRIVING_KEYS_MAX):
        yield tuple(spellings[start : start + DRIVING_KEYS_MAX])


def _spelling(document: Document) -> str:
    return f"{document['type']}/{document['id']}"
