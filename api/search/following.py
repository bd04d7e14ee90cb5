"""Page links that a request follows: opened for its caller, and no older than its tenant lets them be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.app_keys import PAGE_SECRET, POLICIES
from api.search.page_token import bound, follow, refuse_older
from ingest.http.app_keys import CLOCK, PRINCIPAL, TENANT
from store.fhir.instants import SECOND, from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from api.search.page_token import PageState
    from store.search.parsing.query_text import Pair


async def followed(
    request: web.Request, pairs: Sequence[Pair], *, of: str, known: Callable[[str], bool] = bool
) -> PageState | None:
    """State of the page link among the parameters; None when there is none. Raises ServiceError.

    `of` is what the link has to be of, `known` are the names that say something there.
    """
    tenant, seconds = request[TENANT].tenant, from_datetime(request.app[CLOCK]()).start // SECOND
    state = follow(
        pairs,
        of=of,
        tenant=bound(tenant, request[PRINCIPAL]),
        secret=request.app[PAGE_SECRET],
        now_seconds=seconds,
        known=known,
    )
    if state is not None:
        retention = await request.app[POLICIES].remembered(tenant)
        refuse_older(state, days=retention.policy.page_token_days, now_seconds=seconds)
    return state
