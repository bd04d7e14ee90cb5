"""Resources of a file under the ids by which they are stored, with references among them resolved. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from ingest.ids import stable_id
from ingest.pipeline.bundle_references import BundleReferences, pointers_of, redirected
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.datatypes import JsonObject
from store.fhir.issues import Issue
from store.fhir.references import ID
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.writes.push_context import PushContext


class Placed(NamedTuple):
    """An entry that is put under an id."""

    number: int
    """Number of the entry."""
    key: ResourceKey
    resource: JsonObject


def under_own_id(ctx: PushContext, resource: JsonObject) -> tuple[ResourceKey, JsonObject]:
    """Path for a resource: under its id, else under one made of its content."""
    own = resource.get("id")
    if own is None:
        return _under(resource, stable_id(ctx.tenant, f"load {digest_of(dump(resource))}", ctx.secret))
    return _under(resource, str(own))


def placed_entry(ctx: PushContext, number: int, entry: BundleEntry) -> Placed:
    """Path for an entry's resource: its id, else the UUID of its `fullUrl`, else one made of its content."""
    if entry.resource is None:
        issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    named = (entry.full_url or "").removeprefix("urn:uuid:").lower()
    if "id" not in entry.resource and entry.full_url != named and ID.fullmatch(named):
        return Placed(number, *_under(entry.resource, named))
    return Placed(number, *under_own_id(ctx, entry.resource))


def _under(resource: JsonObject, chosen: str) -> tuple[ResourceKey, JsonObject]:
    return ResourceKey(str(resource.get("resourceType")), chosen), {**resource, "id": chosen}


def refuse_contradictions(placed: Sequence[Placed]) -> None:
    """Refuse entries that are stored under one id and say different things, as those of two servers do.

    Nobody could tell whose reports are whose. Raises ServiceError.
    """
    first: dict[ResourceKey, Placed] = {}
    for one in placed:
        other = first.setdefault(one.key, one)
        if other.resource != one.resource:
            path, before = (f"Bundle.entry[{n}].resource" for n in (one.number, other.number))
            text = f"`{path}`: `{before}` has the same type and id, and says something else"
            raise ServiceError(Category.UNPROCESSABLE, Issue("invalid", text, (f"{path}.id", f"{before}.id")))


def refer_within(placed: Sequence[Placed], entries: Sequence[BundleEntry]) -> list[Placed]:
    """Entries whose references lead to where the others are stored, by R4's rules for Bundles."""
    references = BundleReferences(
        [(entries[one.number].resource or {}, entries[one.number].full_url) for one in placed]
    )
    done = []
    for n, one in enumerate(placed):
        there = {text: references.resolve(n, text) for text in pointers_of(one.resource).texts}
        targets = {text: str(placed[at].key) for text, at in there.items() if at is not None}
        done.append(one._replace(resource=redirected(one.resource, targets)))
    return done


def digest_of(content: bytes) -> str:
    """The digest by which equal content is known, hexadecimal."""
    return sha256(content).hexdigest()
