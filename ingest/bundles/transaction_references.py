"""References between the entries of a transaction, resolved to the keys under which they are stored."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from ingest.bundles.transaction_actions import Action, Asked, Condition, Existing, Found, Put
from ingest.bundles.transaction_entries import entry_url, pointers
from ingest.pipeline.bundle_entries import is_kept_whole
from store.errors import Category, ServiceError
from store.fhir.datatypes import listed
from store.fhir.issues import Issue
from store.fhir.references import parse_conditional
from store.resources.resource_keys import ResourceKey
from store.search.values.escapes import split, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import TypeAlias

    from store.fhir.datatypes import Json, JsonObject

    _Carriers: TypeAlias = Mapping[tuple[str, str | None, str | None], AbstractSet[ResourceKey]]
    """Resources by type, system and value of an identifier; None: any."""

_RESTFUL: Final = re.compile(r"(?P<root>https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


_RELATIVE: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


_LINK: Final = re.compile(r"""((?:href|src)\s*=\s*)(["'])(.*?)\2""", re.DOTALL)


_URIS: Final = frozenset({"reference", "url", "uri", "valueUri", "valueUrl", "valueOid", "valueUuid"})
"""Elements that may point at an entry. Not canonicals; not `value`: an identifier may be spelled alike."""


class _Targets(NamedTuple):
    entries: Mapping[str, str]
    """fullUrl → `Type/id`."""
    conditions: Mapping[Condition, str]
    root: str | None
    """Root of the entry at hand, when its fullUrl is RESTful: relative references are within it."""
    base: str | None
    """Our own."""

    def resolve(self, text: str) -> str:
        """Text of a reference as it is stored; unchanged when it leads to no entry."""
        if text.startswith("#"):
            return text
        url, hash_, fragment = text.partition("#")
        url = entry_url(url)
        target = self.entries.get(url)
        if target is None and self.root is not None and _RELATIVE.fullmatch(url):
            target = self.entries.get(self.root + url)
        return text if target is None else f"{target}{hash_}{fragment}"

    def refer(self, text: str) -> str:
        """Text of a Reference.reference as it is stored; it may be a condition."""
        condition = parse_conditional(text, base=self.base)
        return self.resolve(text) if condition is None else self.conditions[condition]


def rewritten(
    asked: Sequence[Asked], actions: Sequence[Action], found: Found, base: str | None
) -> list[Action]:
    """The actions with every reference resolved. Raises ServiceError with every issue."""
    entries = {
        one.full_url: str(action.key)
        for one, action in zip(asked, actions, strict=True)
        if one.full_url is not None and isinstance(action, (Put, Existing))
    }
    known, issues = _conditional_targets(asked, actions, found, base)
    if issues:
        worst = (
            Category.PRECONDITION if any(i.code == "multiple-matches" for i in issues) else Category.INCORRECT
        )
        raise ServiceError(worst, *issues)
    done: list[Action] = []
    for one, action in zip(asked, actions, strict=True):
        if isinstance(action, Put) and not is_kept_whole(action.resource):
            match = _RESTFUL.fullmatch(one.full_url or "")
            targets = _Targets(entries, known, match["root"] if match else None, base)
            done.append(replace(action, resource=_object(action.resource, targets)))
        else:
            done.append(action)
    return done


def _conditional_targets(
    asked: Sequence[Asked], actions: Sequence[Action], found: Found, base: str | None
) -> tuple[dict[Condition, str], list[Issue]]:
    """Conditional references come last in R4's order: they see what the transaction itself stores."""
    puts = [action for action in actions if isinstance(action, Put)]
    own, written = _carriers(puts), {put.key for put in puts}
    known: dict[Condition, str] = {}
    missed: set[Condition] = set()
    issues: list[Issue] = []
    for one, action in zip(asked, actions, strict=True):
        if not isinstance(action, Put):
            continue
        for path, text in pointers(action.resource, f"Bundle.entry[{one.number}].resource"):
            condition = parse_conditional(text, base=base)
            if condition is None or condition in known or condition in missed:
                continue
            keys, carrying = set(found.get(condition, ())), _carrying(own, condition)
            if carrying is not None:  # What is written here is what it says here, not what is stored.
                keys = (keys - written) | carrying
            if len(keys) == 1:
                known[condition] = str(next(iter(keys)))
                continue
            missed.add(condition)
            if keys:
                rule = f"`{path}`: the condition holds for more than one resource"
                issues.append(Issue("multiple-matches", rule, (path,)))
            else:
                rule = f"`{path}`: the condition holds for no resource"
                issues.append(Issue("not-found", rule, (path,)))
    return known, issues


def _carriers(puts: Iterable[Put]) -> _Carriers:
    """The resources of the transaction by each way to ask for an identifier of theirs."""
    found: dict[tuple[str, str | None, str | None], set[ResourceKey]] = defaultdict(set)
    for put in puts:
        for identifier in listed(put.resource.get("identifier")):
            if not isinstance(identifier, dict):
                continue
            system, value = identifier.get("system", ""), identifier.get("value")
            of_system = system if isinstance(system, str) else None
            if isinstance(value, str):
                found[put.key.type, None, value].add(put.key)
            if isinstance(value, str) and of_system is not None:
                found[put.key.type, of_system, value].add(put.key)
            if of_system:
                found[put.key.type, of_system, None].add(put.key)
    return found


def _carrying(own: _Carriers, condition: Condition) -> set[ResourceKey] | None:
    """Resources of the transaction that have the identifier a condition asks for; None: it asks for more.

    It is `value`, `system|value`, `|value` or `system|`.
    """
    pairs = parse_qsl(condition.criteria, keep_blank_values=True)
    if len(pairs) != 1 or pairs[0][0] != "identifier":
        return None
    try:
        wanted = [[unescape(part) for part in split(one, "|")] for one in split(pairs[0][1], ",")]
    except ValueError:
        return None  # `criteria.read` has refused it.
    keys = set[ResourceKey]()
    for *system, value in wanted:
        if value or (system and system[0]):
            keys |= own.get((condition.type, system[0] if system else None, value or None), frozenset())
    return keys


def _object(element: JsonObject, targets: _Targets) -> JsonObject:
    return {name: _value(name, value, targets) for name, value in element.items()}


def _value(name: str, value: Json, targets: _Targets) -> Json:
    if isinstance(value, str):
        if name == "reference":
            return targets.refer(value)
        if name == "div":
            return _LINK.sub(lambda m: f"{m[1]}{m[2]}{targets.resolve(m[3])}{m[2]}", value)
        return targets.resolve(value) if name in _URIS else value
    if isinstance(value, dict):
        return _object(value, targets)
    if isinstance(value, list):
        return [_value(name, one, targets) for one in value]
    return value
