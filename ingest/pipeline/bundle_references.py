"""References among the entries of a Bundle: which entry a reference leads to, and what becomes of the others.

Pure. https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import is_not
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.bundle_entries import is_kept_whole
from store.fhir.references import RELATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.fhir.datatypes import Json, JsonObject

_RESTFUL: Final = re.compile(
    r"(?P<root>https?://.+/)(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})", re.DOTALL
)
"""A `fullUrl` that tells the root below which the relative references of its entry are."""
_HISTORY: Final = "/_history/"
_UUID: Final = "urn:uuid:"
_POINTERS: Final = frozenset({"reference", "url"})
"""Elements that point at an entry: Reference.reference, Attachment.url."""


class BundleReferences:
    """Entries of one Bundle, found by what a reference says; entries go by their numbers."""

    def __init__(self, entries: Sequence[tuple[JsonObject, str | None]]) -> None:
        self._roots: list[str | None] = []
        self._by_url: dict[str, int] = {}
        self._by_id: defaultdict[str, list[int]] = defaultdict(list)
        self._by_uuid: defaultdict[str, list[int]] = defaultdict(list)
        self._own: list[str | None] = []
        for number, (resource, full_url) in enumerate(entries):
            root, own = self._enter(number, resource, full_url)
            self._roots.append(root)
            self._own.append(own)

    def _enter(
        self, number: int, resource: JsonObject, full_url: str | None
    ) -> tuple[str | None, str | None]:
        own = resource.get("id")
        own = own if isinstance(own, str) else None
        root = None
        if full_url is not None:
            url = bare_url(full_url)
            self._by_url.setdefault(url, number)
            match = _RESTFUL.fullmatch(url)
            if match is not None:
                root = match["root"]
                own = own or match["id"]
                if own != match["id"]:
                    self._by_id[f"{match['type']}/{match['id']}"].append(number)
        if own is not None:
            self._by_id[f"{resource.get('resourceType')}/{own}"].append(number)
            self._by_uuid[own.lower()].append(number)
        return root, own

    def own_id(self, number: int) -> str | None:
        """The source's id of an entry: that of the resource, else that in its `fullUrl`; None: none."""
        return self._own[number]

    def root(self, number: int) -> str | None:
        """The root below which the relative references of an entry are, with its slash; None: unknown."""
        return self._roots[number]

    def resolve(self, number: int, text: str) -> int | None:
        """The entry that a reference of entry `number` leads to; None: it leads out of the Bundle."""
        bare = bare_url(text)
        found = self._by_url.get(bare)
        if found is not None:
            return found
        if RELATIVE.fullmatch(bare) is None:
            if bare.startswith(_UUID):
                named = self._by_uuid.get(bare.removeprefix(_UUID), [])
                found = named[0] if len(named) == 1 else None
            return found
        root = self._roots[number]
        if root is not None:
            found = self._by_url.get(root + bare)
            if found is not None:
                return found
        # Without a root of its own an entry is known by its id alone: a tolerance, as long as there is one.
        named = [n for n in self._by_id.get(bare, ()) if root is None or self._roots[n] in (None, root)]
        return named[0] if len(set(named)) == 1 else None

    def elsewhere(self, number: int, text: str, *, source: str) -> str:
        """A reference that leads out of the Bundle, so spelled that it is never taken for one of ours.

        A relative one is below the root of its entry, else it is the source's.
        """
        bare = text.partition(_HISTORY)[0]
        if RELATIVE.fullmatch(bare) is None:
            return text
        root = self._roots[number]
        if root is None:
            root = f"{source.rstrip('/')}/" if source.startswith(("http://", "https://")) else UNKNOWN_ROOT
        return root + text

    def has_root(self, number: int, text: str) -> bool:
        """Whether a reference that leads out of the Bundle is an address, and not the source's local id."""
        return self._roots[number] is not None or RELATIVE.fullmatch(text.partition(_HISTORY)[0]) is None


def bare_url(url: str) -> str:
    """A URL without the version of the source; a UUID is the same in capitals. https://www.rfc-editor.org/rfc/rfc4122"""
    bare = url.partition(_HISTORY)[0]
    return bare.lower() if bare[: len(_UUID)].lower() == _UUID else bare


def is_dead(reference: str) -> bool:
    """Whether a text leads nowhere by its form: no `Type/id`, URL, search or contained resource."""
    if reference.startswith(("#", "urn:", "http://", "https://")) or "?" in reference:
        return False
    return RELATIVE.fullmatch(reference.partition(_HISTORY)[0]) is None


UNKNOWN_ROOT: Final = "urn:dod:unresolved:"
"""Prefix of a relative reference of which nobody knows whose it is."""


class Pointers(NamedTuple):
    """References that a resource makes."""

    texts: Mapping[str, bool]
    """Text of each reference → whether a Reference makes it; False: the URL of an Attachment alone."""
    elements: Sequence[str]
    """Elements of the resource that hold them."""


def pointers_of(resource: JsonObject) -> Pointers:
    """The references that a resource makes; none of one that is kept whole."""
    texts: dict[str, bool] = {}
    elements: list[str] = []
    for name, value in () if is_kept_whole(resource) else resource.items():
        if isinstance(value, str) and name not in _POINTERS:
            continue
        if _collect({name: value}, texts):
            elements.append(name)
    return Pointers(texts, elements)


def _collect(element: dict[str, Json], found: dict[str, bool]) -> bool:
    """Note the references in an element; whether there are any."""
    some = False
    for name, value in element.items():
        if isinstance(value, str):
            if name == "reference":
                found[value] = some = True
            elif name == "url":
                found.setdefault(value, False)
                some = True
        elif isinstance(value, dict):
            some = _collect(value, found) or some
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, dict):
                    some = _collect(one, found) or some
    return some


def redirected(
    resource: JsonObject, targets: Mapping[str, str], *, within: Iterable[str] | None = None
) -> JsonObject:
    """The resource as it is stored beside the others; `within`: the elements that hold its references."""
    if is_kept_whole(resource) or not targets:
        return resource
    return rewritten(resource, targets, within=within)


def rewritten(
    resource: JsonObject, targets: Mapping[str, str], *, within: Iterable[str] | None = None
) -> JsonObject:
    """The resource with its references to these targets pointing at where those are stored.

    A resource that points at none of them is the same object as before, and not a copy. `within`: the
    elements to look at; None: all.
    """
    changed: dict[str, Json] = {}
    for name in resource if within is None else within:
        value = resource[name]
        if isinstance(value, str) and name not in _POINTERS:
            continue
        new = _rewritten(name, value, targets)
        if new is not value:
            changed[name] = new
    return {**resource, **changed} if changed else resource


def _rewritten(name: str, value: Json, targets: Mapping[str, str]) -> Json:
    if isinstance(value, str):
        # A version of the source means nothing here.
        there = name in _POINTERS and (targets.get(value) or targets.get(value.partition(_HISTORY)[0]))
        return there or value
    if isinstance(value, dict):
        return rewritten(value, targets)
    if isinstance(value, list):
        ones = [_rewritten(name, one, targets) for one in value]
        return ones if any(map(is_not, ones, value)) else value
    return value
