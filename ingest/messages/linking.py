"""Records that turn out to be of one person: noted on each, and reports that both have are one from then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.messages.candidates import candidates_under
from ingest.messages.conditions import as_found
from ingest.pipeline.identity.decisions import Finding
from ingest.pipeline.identity.reader import PATIENT, REPORT
from ingest.pipeline.identity.reports.choosing import superseded

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingest.pipeline.identity.decisions import Kin
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Gone

REPORTS_MAX: Final = 2_000
"""Reports of one person that are compared when her records are linked."""


async def link(ctx: PushContext, groups: Collection[Kin]) -> list[Gone]:
    """Note on records of one person the others, and take out older versions of reports that both have.

    A report that came preliminary under the retired number, and final under the survivor's before anybody
    told of the merge, was two until now. A record that was given to somebody else meanwhile is left out.
    """
    gone: list[Gone] = []
    for group in groups:
        linked = await ctx.store.relate(ctx.tenant, group)
        keys = frozenset(f"patient={PATIENT}/{one}" for one in linked)
        reports = await candidates_under(ctx, {REPORT: keys}, limit=REPORTS_MAX)
        for older in await ctx.work(superseded, reports):
            deleted = await ctx.store.delete(
                ctx.tenant, older.key, sourced=older.sourced, provided=as_found(older)
            )
            gone += [deleted] if deleted is not None else []
            ctx.metrics.decided(Finding.REPORT_UNITED)
    return gone
