"""The push context of an operator at the terminal, for commands that push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from api.app import limits_of, utc_now
from ingest.http.app_keys import base_under
from ingest.load.bodies import Operator
from ingest.metrics import IngestMetrics
from ingest.writes.push_context import PushContext

if TYPE_CHECKING:
    from api.settings.service import Settings
    from store.stores import Stores
    from store.tenancy import TenantSettings


async def operator_context(
    stores: Stores, settings: Settings, whose: TenantSettings, *, origin: str | None
) -> PushContext:
    """Make the context; `origin` is the public origin that the service was pushed to."""
    return PushContext(
        store=stores.resources,
        attachments=stores.attachments,
        tenant=whose.tenant,
        caller=Operator(),
        base=base_under(origin or "http://localhost", str(whose.tenant)),
        secret=await stores.access.secret("identities"),
        clock=utc_now,
        settings=settings,
        limits=limits_of(settings),
        metrics=IngestMetrics(CollectorRegistry()),
        strict=(whose.handling or settings.validation) == "strict",
        stable_sources=whose.stable_sources,
        audit=stores.privacy.audit,
    )
