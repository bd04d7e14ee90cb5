"""A message Bundle taken apart: its entries, its subject matter, its sender, the faults of its envelope.

Pure. A document is read as a message of its author. https://hl7.org/fhir/R4/messaging.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from ingest.messages.envelope import deviations
from ingest.pipeline.bundle_entries import entries_of, misplaced
from ingest.pipeline.bundle_references import BundleReferences, bare_url
from ingest.pipeline.identity.reader import Entry
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.datatypes import Malformed, listed, object_of, text_of
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.pipeline.bundle_entries import BundleEntry
    from store.fhir.datatypes import JsonObject


KINDS: Final = ("source ", "client ", "author ")
"""Beginnings of the name of a sender, which stands for the system of a number that has none."""


class Sender(NamedTuple):
    """Sender of a message: the source's ids, and numbers without a system, are compared within it."""

    kind: str
    """`source`, `client` or `author`."""
    name: str

    @override
    def __str__(self) -> str:
        """The sender as part of a natural key."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken apart, in the order of its entries."""

    entries: tuple[Entry, ...]
    main: frozenset[int]
    """The entries that the message is about: reports, else observations, else all but the header."""
    sender: Sender
    tolerances: tuple[str, ...] = ()
    """Deviations of the envelope."""
    issues: tuple[Issue, ...] = ()
    """Deviations of the message as issues of a refusal."""


MAIN: Final = ("DiagnosticReport", "Observation")
"""Types that a message is about: the first of these that it has."""
TYPES: Final = ("message", "document")
"""Types of Bundles that are delivered as messages."""


def read_message(
    bundle: JsonObject,
    *,
    client: str,
    entries_max: int,
    operation: str = "$process-message",
    strict: bool = False,
) -> Message:
    """Take a message apart. Raises ServiceError with every issue of its envelope."""
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in TYPES:
        issue = Issue("invalid", misplaced(bundle, "`message`"), ("Bundle.type",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    entries = entries_of(bundle, entries_max=entries_max)
    issues = [
        Issue("required", f"`Bundle.entry[{n}].resource` is missing", (f"Bundle.entry[{n}].resource",))
        for n, entry in enumerate(entries)
        if entry.resource is None
    ]
    if not entries:
        issues.append(Issue("required", "a message has at least one entry", ("Bundle.entry",)))
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    read = _read(entries)
    is_message = bundle["type"] == "message"
    found = tuple(deviations(entries, operation)) if is_message else ()
    return Message(
        read,
        _main(read),
        _sender(read[0].resource, client) if is_message else _author(bundle, read, client),
        tuple(dict.fromkeys(name for name, _ in found)),
        tuple(issue for _, issue in found) if strict else (),
    )


def _main(entries: Sequence[Entry]) -> frozenset[int]:
    types = [one.type for one in entries]
    wanted = next((name for name in MAIN if name in types), None)
    return frozenset(
        n for n, name in enumerate(types) if (name == wanted if wanted else name != "MessageHeader")
    )


def _sender(header: JsonObject, client: str) -> Sender:
    """The endpoint that the header names, else the client."""
    if header["resourceType"] != "MessageHeader":
        return Sender("client", client)
    try:
        source = object_of(header.get("source") or {}, "MessageHeader.source")
        endpoint = text_of(source, "endpoint", "MessageHeader.source")
    except Malformed as error:
        issue = Issue("structure", f"`{error.path}` {error.rule}", (error.path,))
        raise ServiceError(Category.UNPROCESSABLE, issue) from None
    return Sender("source", endpoint) if endpoint else Sender("client", client)


def _author(bundle: JsonObject, entries: Sequence[Entry], client: str) -> Sender:
    """The author or custodian of a document, by number or name; else the system of its own number."""
    references = BundleReferences([(one.resource, one.full_url) for one in entries])
    composition = entries[0].resource
    for reference in (*listed(composition.get("author")), *listed(composition.get("custodian"))):
        text = reference.get("reference") if isinstance(reference, dict) else None
        there = references.resolve(0, text) if isinstance(text, str) else None
        if there is not None:
            author = entries[there].resource
            for identifier in listed(author.get("identifier")):
                if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
                    return Sender("author", f"{identifier.get('system')}|{identifier['value']}")
            if "name" in author:
                return Sender("author", dump(author["name"]).decode())
    number = bundle.get("identifier")
    system = number.get("system") if isinstance(number, dict) else None
    return Sender("author", system) if isinstance(system, str) else Sender("client", client)


def _read(entries: Sequence[BundleEntry]) -> tuple[Entry, ...]:
    """The entries with what they say. Raises ServiceError when two of one id say different things."""
    read: list[Entry] = []
    first: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(entries):
        resource = entry.resource or {}
        if not isinstance(resource.get("resourceType"), str):
            path = f"Bundle.entry[{number}].resource.resourceType"
            issue = Issue("required", f"`{path}` is missing", (path,))
            raise ServiceError(Category.UNPROCESSABLE, issue)
        content = dump({name: value for name, value in resource.items() if name != "id"})
        read.append(Entry(resource, entry.full_url, content))
        for name in _names(resource, entry.full_url):
            other = first.setdefault(name, number)
            if read[other].content != content:
                raise _contradicted(number, other)
    return tuple(read)


def _names(resource: JsonObject, full_url: str | None) -> list[tuple[str, str]]:
    """Names under which a message has one entry: its `fullUrl`, and without one its type and id.

    A `fullUrl` has no version in R4; two versions of one resource are two contents.
    """
    resource_type, own = str(resource["resourceType"]), resource.get("id")
    if full_url is not None:
        return [("fullUrl", bare_url(full_url))]
    return [(resource_type, own)] if isinstance(own, str) else []


def _contradicted(number: int, other: int) -> ServiceError:
    path, before = (f"Bundle.entry[{n}].resource" for n in (number, other))
    text = f"`{path}`: `{before}` has the same type and id, or `fullUrl`, and says something else"
    return ServiceError(Category.UNPROCESSABLE, Issue("invalid", text, (f"{path}.id", f"{before}.id")))
