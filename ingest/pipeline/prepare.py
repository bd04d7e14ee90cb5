"""The pure line of a push: JSON ─mend▶ JSON ─validate▶ issues? ─stamp▶ bytes ─index▶ Prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.budget import ENTRIES_MAX, too_many_entries
from ingest.pipeline.identity.facts import PLAIN, facts_of
from ingest.pipeline.identity.lookups import is_kept, keys_of
from ingest.pipeline.stamp import digest, unstamped
from ingest.pipeline.validation.conformance import look, straightened
from ingest.pipeline.validation.structure import survey
from ingest.pipeline.validation.tolerances import mend, without_blanks
from ingest.pipeline.validation.validate import validate
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Prepared
from store.search.index import index
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ingest.pipeline.identity.facts import Facts
    from store.fhir.datatypes import JsonObject


_SAID_ALREADY: Final = frozenset({"faulty-companion"})
"""Their own issues say where."""
KEPT_MAX: Final = 20
"""Deviations of one resource that a reply tells the places of."""


class Ready(NamedTuple):
    """A resource ready to be put, and the names of the tolerances it needed."""

    prepared: Prepared
    tolerances: tuple[str, ...]
    kept: tuple[Issue, ...] = ()
    """Deviations that are kept: strict models of R4 may not parse the resource."""


def prepare(  # noqa: PLR0913 -- how it came, by name
    resource: JsonObject,
    resource_id: str,
    *,
    base: str,
    fresh: bool = False,
    companion: bool = False,
    strict: bool = False,
    facts: Facts | None = None,
    entries_max: int = ENTRIES_MAX,
) -> Ready:
    """Prepare a pushed resource under the id it will have.

    A companion of a report is kept with faults that do not touch search, unless handling is strict.
    `facts` are those of a resource that came in a message; else they are read from it.
    Raises ServiceError `unprocessable` with every issue found.
    """
    mended, names = mend(resource)
    looked = look(mended)
    if looked.mendable:
        names, mended = (*names, *looked.mendable), straightened(mended)
        looked = look(mended)
    issues, said = validate(mended), None
    found: tuple[Issue, ...] = ()
    if not issues:
        surveyed = survey(mended)
        if surveyed.blank:
            mended, names = without_blanks(mended), (*names, "blank-inside")
            looked, surveyed = look(mended), survey(mended)
        found, said = surveyed.faults, surveyed.said
        if found and companion:
            names = (*names, "faulty-companion")
        if strict:
            issues = (*found, *looked.issues, *_deviations(names, mended))
        elif not companion:
            issues = found
        names = (*names, *looked.names)
    if str(mended.get("resourceType")) not in TYPES:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    key = ResourceKey(str(mended["resourceType"]), resource_id)
    indexed = index(mended, key.type, base=base, resource_id=resource_id, said=said)
    if issues or indexed.issues:
        raise ServiceError(Category.UNPROCESSABLE, *_each_place_once((*issues, *indexed.issues)))
    if len(indexed.keys) > entries_max:
        raise too_many_entries(key.type, entries_max)
    body = unstamped(mended, key)
    is_of_message = facts is not None
    if facts is None:
        facts = facts_of(mended, PLAIN, base=base)
    known = is_kept(key.type, facts)
    told = facts.stored() if known or not is_of_message else None
    prepared = Prepared(
        key,
        body,
        digest(body),
        indexed,
        fresh,
        identity=told if known else None,
        said=None if is_of_message else told,
        identity_keys=tuple(keys_of(key.type, facts)) if known else (),
    )
    kept = _each_place_once((*(found if companion else ()), *looked.issues))[:KEPT_MAX]
    return Ready(prepared, names, kept)


def _each_place_once(issues: Iterable[Issue]) -> tuple[Issue, ...]:
    """The first issue of each element."""
    first: dict[object, Issue] = {}
    for issue in issues:
        first.setdefault(issue.expression, issue)
    return tuple(first.values())


def _deviations(names: tuple[str, ...], resource: JsonObject) -> Iterator[Issue]:
    """Issues of strict handling for what was mended."""
    for name in names:
        if name not in _SAID_ALREADY:
            path = str(resource["resourceType"])
            yield Issue("structure", f"`{path}` would have to be mended: {name}", (path,))
