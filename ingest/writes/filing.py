"""Documents of a push: they go to the store of files first, then the resources that refer to them.

A crash in between leaves a file that nobody refers to; the collector removes it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingest.pipeline.bundle_entries import is_kept_whole
from ingest.pipeline.documents import Naming, Taken, take_out
from ingest.pipeline.prepare import prepare
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.files import references_to_files
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingest.pipeline.identity.facts import Facts
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.files import NewFile
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Prepared, PutResult

_FOREIGN: Final = Issue(
    "not-found",
    "a URL `Binary/file-…` names a document that its sender neither sent nor may read: send the document",
)


async def taken_out(ctx: PushContext, resource: JsonObject) -> Taken:
    """The resource, or a Bundle of them, without the documents that are too long to stay inside."""
    if not await ctx.work(ctx.holds_documents, resource):
        return Taken(resource)
    longer_than, naming = ctx.settings.attachment_inline_bytes_max, Naming(ctx.tenant, ctx.secret)
    # Hashing 30 MB takes a fifth of a second, in which others want to be served.
    return await asyncio.to_thread(take_out, resource, naming, longer_than=longer_than)


async def taken_out_of(ctx: PushContext, resource: JsonObject) -> Taken:
    """Files taken out of a resource that is pushed by itself, which may be one that is kept whole."""
    return Taken(resource) if is_kept_whole(resource) else await taken_out(ctx, resource)


async def put(
    ctx: PushContext, resources: Sequence[Prepared], files: Sequence[NewFile], *, again: bool = False
) -> list[PutResult]:
    """Put resources once their files are durable, and those that they refer to besides are safe.

    `again`: they were stored like this before.
    """
    await file_first(ctx, resources, files, again=again)
    return await ctx.store.put_many(ctx.tenant, resources)


async def put_each(
    ctx: PushContext, resources: Sequence[Prepared], files: Sequence[NewFile]
) -> list[PutResult | ServiceError]:
    """Store resources with their files; the result of each, or why it was refused when others are stored.

    Raises ServiceError when nothing was begun.
    """
    ctx.store.check_sizes(resources)
    await file_first(ctx, resources, files)
    return await ctx.store.put_each(ctx.tenant, resources)


async def file_first(
    ctx: PushContext, resources: Sequence[Prepared], files: Sequence[NewFile], *, again: bool = False
) -> None:
    """Store the files before the resources are written, by whatever verb."""
    if ctx.access is not None:
        ctx.access.stores(resources)
    if files or len(resources) > 1:  # Else the write itself is all that happens, and asks by itself.
        await ctx.store.admit(ctx.tenant, resources)
    named = named_files(resources)
    foreign = named.keys() - {file.id for file in files} - ctx.uploads
    if foreign and not again:
        await _refuse_foreign(ctx, {name: named[name] for name in sorted(foreign)})
    if files:
        await ctx.attachments.put(ctx.tenant, files)
    await ctx.attachments.keep(ctx.tenant, sorted(named.keys() - {file.id for file in files}))


async def prepared_again(
    ctx: PushContext, resource: JsonObject, resource_id: str, *, facts: Facts | None = None
) -> Prepared:
    """A stored resource as it was, or with what others said, prepared beside the loop to be put again.

    Raises ServiceError `unprocessable`.
    """
    ready = await ctx.beside(
        prepare,
        resource,
        resource_id,
        base=ctx.base,
        companion=True,
        facts=facts,
        entries_max=ctx.settings.index_entries_max,
    )
    return ready.prepared


def named_files(resources: Iterable[Prepared]) -> dict[str, list[ResourceKey]]:
    """Files that resources refer to, each with those resources."""
    named: dict[str, list[ResourceKey]] = {}
    for one in resources:
        for name in references_to_files(one.body.tail):
            named.setdefault(name, []).append(one.key)
    return named


async def _refuse_foreign(ctx: PushContext, named: Mapping[str, Sequence[ResourceKey]]) -> None:
    """Refuse a reference to a file that the caller neither sent nor may read. Raises ServiceError.

    Whoever refers to a file may have it: an upload that no message has named yet is its client's alone. What
    nobody waits for, and nothing shows, is left of a push that was refused in part, and comes again.
    """
    caller = ctx.caller
    types = [name for name in TYPES if caller.may(name, "r")]
    parts = [(name, part) for name in TYPES if name not in types and (part := caller.within(name, "r"))]
    for name, keys in named.items():
        file = await ctx.attachments.find(ctx.tenant, name)
        shown = file is not None and await ctx.attachments.is_shown(ctx.tenant, name)
        if file is None or (shown and caller.may("Binary", "r")) or not (shown or file.held):
            continue
        own = [str(key) for key in keys]
        if not await ctx.attachments.is_referred_to(ctx.tenant, name, types=types, within=parts, names=own):
            raise ServiceError(Category.UNPROCESSABLE, replace(_FOREIGN, expression=(keys[0].type,)))
