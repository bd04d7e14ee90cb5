"""The push of one body of a file: a resource, or a Bundle of any type.

A body may be loaded any number of times: a resource without an id gets one from its content, so that the same
again is the same resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.handlers import answer_bundle
from ingest.ids import stable_id
from ingest.load.histories import read_history
from ingest.load.hl7v2 import is_hl7v2, pushed_messages
from ingest.load.placing import (
    Placed,
    digest_of,
    placed_entry,
    refer_within,
    refuse_contradictions,
    under_own_id,
)
from ingest.load.results import AGAIN, LoadCounts, Refusal, Result, in_order, refusal, shown
from ingest.messages import delivery
from ingest.pipeline.bundle_entries import entries_of, relative
from ingest.pipeline.bundle_references import redirected
from ingest.pipeline.decode import decode
from ingest.writes import push
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.reach import Everything

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from ingest.feeds.sources import Source
    from ingest.load.files import Place
    from ingest.load.histories import Version
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import Json, JsonObject


_NO_TYPE: Final = Issue(
    "required", "`resourceType` is missing: a file holds a FHIR resource or Bundle", ("resourceType",)
)


class Operator(Everything):
    """The caller at the terminal: whoever holds the database in hand may write everything."""

    client = "dod load"
    token_id = "operator"  # noqa: S105 -- no token at all
    scopes: Mapping[str, frozenset[str]] = MappingProxyType({"*": frozenset("cruds")})
    is_admin = True
    own: AbstractSet[str] = frozenset()


async def pushed(ctx: PushContext, place: Place, body: bytes, sources: Sequence[Source] = ()) -> Result:
    """Push one body. Raises ServiceError when nothing is known of it and it must be pushed again."""
    tally = LoadCounts()
    one = ctx._replace(metrics=tally)
    try:
        if is_hl7v2(body):
            return await pushed_messages(one, place, body, sources, tally.counts)
        resource = _resource(body)
        if resource["resourceType"] != "Bundle":
            await push.update(one, *under_own_id(one, resource))
            return Result(tally.counts)
        refusals = await way_of(resource)(one, Sent(resource, body, place))
    except ServiceError as error:
        if error.category in AGAIN:
            raise
        tally.counts["refused"] += 1
        return Result(tally.counts, (refusal(place, error),))
    return Result(tally.counts, refusals)


def _resource(body: bytes) -> JsonObject:
    """The resource in a body. Raises ServiceError with the rule."""
    resource = decode(body)
    if not isinstance(resource.get("resourceType"), str):
        raise ServiceError(Category.UNPROCESSABLE, _NO_TYPE)
    return resource


def way_of(bundle: JsonObject) -> Way:
    """The push of Bundles of this type. Raises ServiceError for a type that cannot be loaded."""
    way = _WAYS.get(str(bundle.get("type")))
    if way is None:
        text = f"`Bundle.type` is one of {', '.join(sorted(_WAYS))}"
        raise ServiceError(Category.UNPROCESSABLE, Issue("not-supported", text, ("Bundle.type",)))
    return way


class Sent(NamedTuple):
    """A Bundle as it came."""

    bundle: JsonObject
    body: bytes
    place: Place


Way = Callable[["PushContext", Sent], Awaitable[tuple[Refusal, ...]]]


async def _message(ctx: PushContext, sent: Sent) -> tuple[Refusal, ...]:
    done = await delivery.message(ctx, sent.bundle)
    failed = ((n, one) for n, one in enumerate(done) if isinstance(one, ServiceError))
    return tuple(refusal(sent.place._replace(entry=number), error) for number, error in failed)


async def _interactions(ctx: PushContext, sent: Sent) -> tuple[Refusal, ...]:
    """A batch or transaction; what it creates is given an id, so that it is created once."""
    bundle, name = sent.bundle, digest_of(sent.body)
    bundle = repeatable(bundle, ctx.base, lambda n: stable_id(ctx.tenant, f"load {name} {n}", ctx.secret))
    refusals = []
    for number, entry in enumerate(await answer_bundle(ctx, bundle, name=f"load {name}")):
        response = entry["response"]
        status = int(response["status"][:3])
        if status in (503, 504):
            raise ServiceError(Category.UNAVAILABLE)
        if status >= 400:  # noqa: PLR2004 (where HTTP splits)
            issues = tuple(shown(issue) for issue in response["outcome"]["issue"])
            refusals.append(Refusal(sent.place._replace(entry=number), issues))
    return tuple(refusals)


def repeatable(bundle: JsonObject, base: str, new_id: Callable[[int], str]) -> JsonObject:
    """Body in which unconditional creates are updates under ids that are equal each time."""
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return bundle
    changed: list[Json] = []
    for number, entry in enumerate(entries):
        request = entry.get("request") if isinstance(entry, dict) else None
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if (
            isinstance(entry, dict)
            and isinstance(request, dict)
            and isinstance(resource, dict)
            and request.get("method") == "POST"
            and relative(str(request.get("url")), base) == resource.get("resourceType")
            and "ifNoneExist" not in request
        ):
            chosen = new_id(number)
            put: JsonObject = {"method": "PUT", "url": f"{resource['resourceType']}/{chosen}"}
            changed.append({**entry, "resource": {**resource, "id": chosen}, "request": put})
        else:
            changed.append(entry)
    return {**bundle, "entry": changed}


async def _upserts(ctx: PushContext, sent: Sent) -> tuple[Refusal, ...]:
    """A collection or searchset: each entry is put under its id, whatever becomes of the others."""
    entries = entries_of(sent.bundle, entries_max=ctx.settings.bundle_entries_max)
    placed: list[Placed] = []
    refusals: list[Refusal] = []

    def refused(number: int, error: ServiceError) -> None:
        ctx.metrics.count("refused")
        refusals.append(refusal(sent.place._replace(entry=number), error))

    for number, entry in enumerate(entries):
        if is_remark(sent.bundle, entry):
            continue
        try:
            placed.append(placed_entry(ctx, number, entry))
        except ServiceError as error:
            refused(number, error)
    refuse_contradictions(placed)
    placed = refer_within(placed, entries)
    # Reports last: whoever finds one finds what it refers to.
    placed.sort(key=lambda one: one.key.type == "DiagnosticReport")
    done = await asyncio.gather(
        *(push.update(ctx, key, resource) for _, key, resource in placed),
        return_exceptions=True,
    )
    for (number, _, _), result in zip(placed, done, strict=True):
        if isinstance(result, ServiceError) and result.category not in AGAIN:
            refused(number, result)
        elif isinstance(result, BaseException):
            raise result
    return in_order(refusals)


async def _history(ctx: PushContext, sent: Sent) -> tuple[Refusal, ...]:
    """The versions of each resource one after the other, the resources beside each other.

    They are put with their source's time, so that the same again, or an older history, changes nothing.
    """
    entries = entries_of(sent.bundle, entries_max=ctx.settings.bundle_entries_max)
    versions, unread = read_history(entries, latest=ctx.latest_source_time())
    targets = {
        url: str(one.key)
        for several in versions.values()
        for one in several
        if (url := entries[one.number].full_url) is not None
    }
    refusals = [refusal(sent.place._replace(entry=number), error) for number, error in unread]
    for _ in unread:
        ctx.metrics.count("refused")

    async def follow(several: Sequence[Version]) -> None:
        for one in several:
            try:
                if one.resource is None:
                    await push.delete(ctx, one.key, sourced=one.sourced)
                else:
                    await push.update(ctx, one.key, redirected(one.resource, targets), sourced=one.sourced)
            except ServiceError as error:
                if error.category in AGAIN:
                    raise
                ctx.metrics.count("refused")
                refusals.append(refusal(sent.place._replace(entry=one.number), error))

    # Reports last: whoever finds one finds what it refers to.
    for reports in (False, True):
        some = [one for key, one in versions.items() if (key.type == "DiagnosticReport") is reports]
        for failed in await asyncio.gather(*map(follow, some), return_exceptions=True):
            if isinstance(failed, BaseException):
                raise failed
    return in_order(refusals)


def is_remark(bundle: JsonObject, entry: BundleEntry) -> bool:
    """Whether an entry of a searchset is what its server had to say about the search."""
    held = (entry.resource or {}).get("resourceType")
    return bundle.get("type") == "searchset" and held == "OperationOutcome"


UNDER_OWN_IDS: Final = ("collection", "searchset")
"""Types of Bundles of which each entry is put under its id."""
_WAYS: Final[Mapping[str, Way]] = {
    "message": _message,
    "batch": _interactions,
    "transaction": _interactions,
    "document": _message,
    **dict.fromkeys(UNDER_OWN_IDS, _upserts),
    "history": _history,
}
