"""A transaction Bundle → what it asks for, which conditions it depends on, and the writes it comes down to.

entries ─read_transaction▶ Asked… ─conditions▶ what to look up ─place▶ actions, every reference resolved

Pure. https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

from ingest.pipeline.bundle_entries import READING, Interaction, entries_of, interaction, is_kept_whole
from ingest.pipeline.preconditions import if_match, not_held
from store.errors import Category, ServiceError
from store.fhir.datatypes import listed
from store.fhir.elements import DEPTH_MAX
from store.fhir.issues import Issue
from store.fhir.references import Conditional, parse_conditional
from store.resource_keys import ResourceKey
from store.search.values.escapes import split, unescape
from store.versions import ANY_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject

WRITES: Final = ("DELETE", "POST", "PUT", "PATCH")
METHODS: Final = READING.union(WRITES)
_RESTFUL: Final = re.compile(r"(?P<root>https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_RELATIVE: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_LINK: Final = re.compile(r"""((?:href|src)\s*=\s*)(["'])(.*?)\2""", re.DOTALL)
_URIS: Final = frozenset({"reference", "url", "uri", "valueUri", "valueUrl", "valueOid", "valueUuid"})
"""Elements that may point at an entry. Not canonicals; not `value`: an identifier may be spelled alike."""


Condition = Conditional
"""A search that must find one resource, or none."""


class Asked(NamedTuple):
    """One entry of a transaction."""

    number: int
    full_url: str | None
    asks: Interaction

    @property
    def searches(self) -> bool:
        """Whether it is a search, and not about one resource."""
        return self.asks.method in READING and self.asks.id is None

    @property
    def condition(self) -> Condition | None:
        """What must be looked up to know which resource it is about."""
        if self.searches:
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
    """Asked for with `If-None-Match: *`."""
    only_unmatched: bool = False
    """The id comes from a condition that nothing fulfilled: when it is there, twins were faster."""
    if_match: str | None = None
    tolerances: tuple[str, ...] = ()
    """How its entry deviates from R4."""


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
    """Not the current one but this."""
    if_none_match: str | None = None
    if_modified_since: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Search, and see what the transaction has stored."""

    number: int
    type: str
    query: str


Action = Put | Delete | Existing | Read | Search
Found = dict[Condition, tuple[ResourceKey, ...]]
"""The matches of each condition, as many as are needed to know that there is more than one."""


def read_transaction(bundle: JsonObject, *, entries_max: int, base: str, strict: bool = False) -> list[Asked]:
    """The entries, each in itself as it must be. Raises ServiceError with every issue."""
    asked: list[Asked] = []
    issues: list[Issue] = []
    for number, entry in enumerate(entries_of(bundle, entries_max=entries_max)):
        try:
            asks = interaction(entry, base=base, strict=strict)
        except ServiceError as error:
            issues += [_numbered(issue, number) for issue in error.issues]
            continue
        asked.append(Asked(number, entry.full_url, asks))
        issues += _broken(asked[-1])
    issues += _dangling(asked)
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    return asked


def _broken(one: Asked) -> Iterator[Issue]:
    """The rules of its method that an entry breaks."""
    method, resource, place = one.asks.method, one.asks.resource, f"Bundle.entry[{one.number}]"
    request = f"{place}.request"
    if method not in METHODS:
        yield Issue("not-supported", f"`{request}.method` is not offered in a transaction", (request,))
        return
    if method in ("POST", "PUT", "PATCH"):
        if resource is None:
            yield Issue("required", f"`{place}.resource` is missing", (f"{place}.resource",))
            return
        if method != "PATCH" and resource.get("resourceType") != one.asks.type:
            path = f"{place}.resource.resourceType"
            yield Issue("invalid", f"`{path}` must be the type in `request.url`", (path,))
    named, searched = one.asks.id is not None, one.asks.query is not None
    if method == "POST" and (named or searched):
        yield Issue("value", f"`{request}.url` of a create must be a type", (f"{request}.url",))
    elif method in ("PUT", "PATCH", "DELETE") and named == searched:
        yield Issue("value", f"`{request}.url` must name one resource", (f"{request}.url",))
    if method == "PUT" and named and resource is not None and resource.get("id") != one.asks.id:
        path = f"{place}.resource.id"
        yield Issue("invalid", f"`{path}` must be the id in `request.url`", (path,))


def _dangling(asked: Sequence[Asked]) -> Iterator[Issue]:
    """One fullUrl for two resources; `urn:` references that lead to no entry."""
    names = Counter(one.full_url for one in asked if one.full_url and one.asks.method in ("POST", "PUT"))
    for one in asked:
        place = f"Bundle.entry[{one.number}]"
        if one.full_url is not None and names[one.full_url] > 1:
            path = f"{place}.fullUrl"
            yield Issue("duplicate", f"`{path}` is that of another entry, too", (path,))
        for path, text in _pointers(one.asks.resource, f"{place}.resource"):
            if text.startswith(("urn:uuid:", "urn:oid:")) and _entry_url(text) not in names:
                yield Issue("not-found", f"`{path}` is the `fullUrl` of no entry", (path,))


def conditions(asked: Iterable[Asked], base: str | None = None) -> set[Condition]:
    """All that must be looked up."""
    wanted: set[Condition] = set()
    for one in asked:
        if one.condition is not None:
            wanted.add(one.condition)
        for _, text in _pointers(one.asks.resource, ""):
            condition = parse_conditional(text, base=base)
            if condition is not None:
                wanted.add(condition)
    return wanted


def place(
    asked: Sequence[Asked], found: Found, *, base: str | None = None, derived: Callable[[Condition], str]
) -> list[Action]:
    """What each entry comes down to, in the order of entries. Raises ServiceError with every issue.

    `derived` gives the id for a resource whose condition nothing fulfils yet.
    """
    deletions, left = _deletions(asked, found)
    by_number: dict[int, Action] = {one.number: one for one in deletions}
    for one in asked:
        if one.number not in by_number:
            by_number[one.number] = _action(one, left, derived)
    actions = [_tolerated(by_number[one.number], one) for one in asked]
    _refuse_twins(actions)
    return _rewritten(asked, actions, left, base)


def _tolerated(action: Action, one: Asked) -> Action:
    told = one.asks.tolerances
    return replace(action, tolerances=told) if told and isinstance(action, Put) else action


def patched_keys(asked: Sequence[Asked], found: Found) -> dict[int, ResourceKey]:
    """Which resource each patch is for, by number of entry. Raises ServiceError unless it is one."""
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
    """They come first: what they delete fulfils no condition any more."""
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
        return Read(one.number, key, asks.version, asks.if_none_match, asks.if_modified_since)
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


class _Targets(NamedTuple):
    entries: Mapping[str, str]
    """fullUrl → `Type/id`."""
    conditions: Mapping[Condition, str]
    root: str | None
    """Of the entry at hand, when its fullUrl is RESTful: relative references are within it."""
    base: str | None
    """Our own."""

    def resolve(self, text: str) -> str:
        """Where it leads to here; the text itself when to no entry."""
        if text.startswith("#"):
            return text
        url, hash_, fragment = text.partition("#")
        url = _entry_url(url)
        target = self.entries.get(url)
        if target is None and self.root is not None and _RELATIVE.fullmatch(url):
            target = self.entries.get(self.root + url)
        return text if target is None else f"{target}{hash_}{fragment}"

    def refer(self, text: str) -> str:
        """The same for Reference.reference, which may be a condition."""
        condition = parse_conditional(text, base=self.base)
        return self.resolve(text) if condition is None else self.conditions[condition]


def _entry_url(text: str) -> str:
    """Without version and fragment, which mean nothing for an entry's name."""
    return text.partition("#")[0].partition("/_history/")[0]


def _rewritten(
    asked: Sequence[Asked], actions: Sequence[Action], found: Found, base: str | None
) -> list[Action]:
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
    own = [action for action in actions if isinstance(action, Put)]
    known: dict[Condition, str] = {}
    missed: set[Condition] = set()
    issues: list[Issue] = []
    for one, action in zip(asked, actions, strict=True):
        if not isinstance(action, Put):
            continue
        for path, text in _pointers(action.resource, f"Bundle.entry[{one.number}].resource"):
            condition = parse_conditional(text, base=base)
            if condition is None or condition in known or condition in missed:
                continue
            keys = {*found.get(condition, ()), *(put.key for put in own if _carries(put, condition))}
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


def _carries(put: Put, condition: Condition) -> bool:
    """Whether a resource of the transaction has the identifier that a condition asks for, and no more."""
    pairs = parse_qsl(condition.criteria)
    if put.key.type != condition.type or len(pairs) != 1 or pairs[0][0] != "identifier":
        return False
    try:
        wanted = [[unescape(part) for part in split(one, "|")] for one in split(pairs[0][1], ",")]
    except ValueError:
        return False  # `criteria.read` has refused it.
    carried = [one for one in listed(put.resource.get("identifier")) if isinstance(one, dict)]
    return any(_is_asked(identifier, parts) for identifier in carried for parts in wanted)


def _is_asked(identifier: JsonObject, parts: Sequence[str]) -> bool:
    """Whether an identifier is `value`, `system|value`, `|value` or `system|`."""
    *system, value = parts
    if system and identifier.get("system", "") != system[0]:
        return False
    return identifier.get("value") == value if value else bool(system and system[0])


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


def _pointers(resource: JsonObject | None, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every `reference` that may lead to another entry."""
    return iter(()) if resource is None or is_kept_whole(resource) else _references(resource, path)


def _references(element: Json, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path, text) of every `reference` below an element.

    Raises ServiceError `unprocessable` for what is nested deeper than `structure` lets through: whoever walks
    the resource after this may do so by recursion.
    """
    if depth > DEPTH_MAX:
        place = path.partition(".resource")[0] + ".resource"
        raise ServiceError(
            Category.UNPROCESSABLE, Issue("structure", f"`{place}` is nested too deep", (place,))
        )
    if isinstance(element, dict):
        for name, value in element.items():
            if name == "reference" and isinstance(value, str):
                yield f"{path}.reference", value
            elif isinstance(value, (dict, list)):
                yield from _references(value, f"{path}.{name}", depth + 1)
    elif isinstance(element, list):
        for number, value in enumerate(element):
            if isinstance(value, (dict, list)):
                yield from _references(value, f"{path}[{number}]", depth + 1)


def _numbered(issue: Issue, number: int) -> Issue:
    """An issue of an entry with the entry's number."""
    numbered = f"Bundle.entry[{number}]"
    return replace(
        issue,
        text=f"`{numbered}`: {issue.text}",
        expression=tuple(path.replace("Bundle.entry", numbered, 1) for path in issue.expression),
    )
