"""Entries of a transaction Bundle, each checked in itself, and the conditions that they depend on."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from ingest.bundles.transaction_actions import Asked, Condition
from ingest.pipeline.bundle_entries import READING, entries_of, interaction, is_kept_whole
from store.errors import ISSUES_MAX, Category, ServiceError
from store.fhir.elements import DEPTH_MAX
from store.fhir.issues import Issue
from store.fhir.references import parse_conditional

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from store.fhir.datatypes import Json, JsonObject

WRITES: Final = ("DELETE", "POST", "PUT", "PATCH")


METHODS: Final = READING.union(WRITES)


_CONDITIONLESS: Final = re.compile(r"(?:https?://.+/)?[A-Z][A-Za-z]+\?")
"""A conditional reference (R4: it must find one resource) that says nothing of it."""


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
    issues += islice(_dangling(asked), ISSUES_MAX)
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
    """Issues of a fullUrl that two resources have, and of `urn:` references that lead to no entry."""
    names = Counter(one.full_url for one in asked if one.full_url and one.asks.method in ("POST", "PUT"))
    for one in asked:
        place = f"Bundle.entry[{one.number}]"
        if one.full_url is not None and names[one.full_url] > 1:
            path = f"{place}.fullUrl"
            yield Issue("duplicate", f"`{path}` is that of another entry, too", (path,))
        for path, text in pointers(one.asks.resource, f"{place}.resource"):
            if _CONDITIONLESS.fullmatch(text):
                yield Issue(
                    "required", f"`{path}` is a search without a criterion: it finds no one resource", (path,)
                )
            if text.startswith(("urn:uuid:", "urn:oid:")) and entry_url(text) not in names:
                yield Issue("not-found", f"`{path}` is the `fullUrl` of no entry", (path,))


def conditions(asked: Iterable[Asked], base: str | None = None) -> set[Condition]:
    """Conditions of the entries, to be looked up before the transaction."""
    wanted: set[Condition] = set()
    for one in asked:
        if one.condition is not None:
            wanted.add(one.condition)
        for _, text in pointers(one.asks.resource, ""):
            condition = parse_conditional(text, base=base)
            if condition is not None:
                wanted.add(condition)
    return wanted


def entry_url(text: str) -> str:
    """URL without version and fragment, which mean nothing for an entry's name."""
    return text.partition("#")[0].partition("/_history/")[0]


def pointers(resource: JsonObject | None, path: str) -> Iterator[tuple[str, str]]:
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
