"""Documents of a push: they go to the store of files first, then the resources that refer to them.

A crash in between leaves a file that nobody refers to; the collector removes it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.pipeline.bundle_entries import is_kept_whole
from ingest.pipeline.documents import Naming, Taken, take_out
from store.files import references_to_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.files import NewFile
    from store.resources.versions import Prepared, PutResult


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


async def put(ctx: PushContext, resources: Sequence[Prepared], files: Sequence[NewFile]) -> list[PutResult]:
    """Put resources once their files are durable, and those that they refer to besides are safe."""
    await file_first(ctx, resources, files)
    return await ctx.store.put_many(ctx.tenant, resources)


async def file_first(ctx: PushContext, resources: Sequence[Prepared], files: Sequence[NewFile]) -> None:
    """Store the files before the resources are written, by whatever verb."""
    if ctx.access is not None:
        ctx.access.stores(resources)
    if files or len(resources) > 1:  # Else the write itself is all that happens, and asks by itself.
        await ctx.store.admit(ctx.tenant, resources)
    if files:
        await ctx.attachments.put(ctx.tenant, files)
    named = {name for one in resources for name in references_to_files(one.body.tail)}
    await ctx.attachments.keep(ctx.tenant, sorted(named - {file.id for file in files}))
