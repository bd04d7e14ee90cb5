"""The plan of a transaction Bundle: the writes and reads that its entries come down to. Pure.

entries ─read_transaction▶ Asked… ─conditions▶ what to look up ─place▶ actions, every reference resolved
https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from ingest.bundles.transaction_actions import (
    Action,
    Asked,
    Condition,
    Delete,
    Existing,
    Found,
    Put,
    Read,
    Search,
)
from ingest.bundles.transaction_references import rewritten
from ingest.pipeline.bundle_entries import READING
from ingest.pipeline.preconditions import if_match, not_held
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import ANY_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def place(
    asked: Sequence[Asked], found: Found, *, base: str | None = None, derived: Callable[[Condition], str]
) -> list[Action]:
    """Actions that the entries come down to, in their order. Raises ServiceError with every issue.

    `derived` gives the id for a resource whose condition nothing fulfils yet.
    """
    deletions, left = _deletions(asked, found)
    by_number: dict[int, Action] = {one.number: one for one in deletions}
    for one in asked:
        if one.number not in by_number:
            by_number[one.number] = _action(one, left, derived)
    actions = [_tolerated(by_number[one.number], one) for one in asked]
    _refuse_twins(actions)
    return rewritten(asked, actions, left, base)


def _tolerated(action: Action, one: Asked) -> Action:
    told = one.asks.tolerances
    return replace(action, tolerances=told) if told and isinstance(action, Put) else action


def patched_keys(asked: Sequence[Asked], found: Found) -> dict[int, ResourceKey]:
    """Key of the resource that each patch is for, by number of entry. Raises ServiceError for none."""
    _, left = _deletions(asked, found)
    keys: dict[int, ResourceKey] = {}
    for one in asked:
        if one.asks.method != "PATCH":
            continue
        key = _one(one, left) if one.asks.id is None else ResourceKey(one.asks.type, one.asks.id)
        if key is None:
            if if_match(one.asks.if_match) == ANY_VERSION:
                raise not_held(ANY_VERSION)
            path = f"Bundle.entry[{one.number}].request.url"
            text = f"`{path}`: the condition holds for no resource"
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", text, (path,)))
        keys[one.number] = key
    return keys


def _deletions(asked: Sequence[Asked], found: Found) -> tuple[list[Delete], Found]:
    """Deletions, and the matches without what they delete: it fulfils no condition any more."""
    deletions = [_deletion(one, found) for one in asked if one.asks.method == "DELETE"]
    gone = {one.key for one in deletions if one.key is not None}
    return deletions, {c: tuple([k for k in keys if k not in gone]) for c, keys in found.items()}


def _deletion(one: Asked, found: Found) -> Delete:
    if one.asks.id is not None:
        return Delete(one.number, ResourceKey(one.asks.type, one.asks.id), one.asks.if_match)
    return Delete(one.number, _one(one, found), one.asks.if_match)


def _action(one: Asked, found: Found, derived: Callable[[Condition], str]) -> Action:
    asks, resource = one.asks, one.asks.resource or {}
    if one.searches:
        return Search(one.number, asks.type, asks.query or "")
    if asks.method in READING:
        key = ResourceKey(asks.type, asks.id or "")
        return Read(one.number, key, asks.version, asks.if_none_match, asks.if_modified_since, asks.query)
    if asks.method == "PUT" and asks.id is not None:
        key, absent = ResourceKey(asks.type, asks.id), asks.if_none_match == "*"
        return Put(one.number, key, resource, only_absent=absent, if_match=asks.if_match)
    condition = one.condition
    if condition is None:
        return Put(one.number, ResourceKey(asks.type, str(uuid4())), resource, fresh=True)
    match = _one(one, found)
    if asks.method == "POST":
        if match is not None:
            return Existing(one.number, match)
        return Put(one.number, ResourceKey(asks.type, derived(condition)), resource, only_unmatched=True)
    own = resource.get("id")
    if match is None:
        chosen = own if isinstance(own, str) else derived(condition)
        key = ResourceKey(asks.type, chosen)
        return Put(one.number, key, resource, only_unmatched=True, if_match=asks.if_match)
    if own not in (None, match.id):
        path = f"Bundle.entry[{one.number}].resource.id"
        text = f"`{path}` is not that of the resource for which the condition holds"
        raise ServiceError(Category.INCORRECT, Issue("invalid", text, (path,)))
    return Put(one.number, match, resource, if_match=asks.if_match)


def _one(one: Asked, found: Found) -> ResourceKey | None:
    """The one resource an entry's condition holds for. Raises ServiceError `precondition` for several."""
    matches = found.get(one.condition, ()) if one.condition is not None else ()
    if len(matches) > 1:
        path = f"Bundle.entry[{one.number}].request"
        text = f"`{path}`: the condition holds for more than one resource"
        raise ServiceError(Category.PRECONDITION, Issue("multiple-matches", text, (path,)))
    return matches[0] if matches else None


def _refuse_twins(actions: Iterable[Action]) -> None:
    """R4: when two entries are about one resource, the transaction fails."""
    numbers: defaultdict[ResourceKey, list[int]] = defaultdict(list)
    for action in actions:
        if isinstance(action, (Put, Delete)) and action.key is not None:
            numbers[action.key].append(action.number)
    twins = [f"Bundle.entry[{number}]" for same in numbers.values() if len(same) > 1 for number in same]
    if twins:
        issues = (
            Issue("duplicate", f"`{path}`: another entry is about the same resource", (path,))
            for path in twins
        )
        raise ServiceError(Category.INCORRECT, *issues)


# --- references
