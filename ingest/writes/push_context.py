"""The context of a push: its caller and tenant, the ports that it writes to, the settings that bound it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from ingest.pipeline.budget import LIGHT_BYTES
from ingest.pipeline.documents import holds_documents
from ingest.unique import secret_id
from ingest.work import at_once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from ingest.access import Access
    from ingest.caller import Caller
    from ingest.metrics import IngestMetrics
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.settings import IngestSettings
    from ingest.work import Work
    from store.audit.records import AuditTrail
    from store.errors import ServiceError
    from store.fhir.datatypes import JsonObject
    from store.files import AttachmentStore
    from store.resources.resources import ResourceStore, StoreInTransaction
    from store.search.parsing.context import SearchLimits
    from store.tenancy import Tenant

    Later = Callable[[ResourceStore], Awaitable[None]]
    """Work in the store that all see."""
    RefusedEntry = tuple[BundleEntry, ServiceError]


class PushContext(NamedTuple):
    """Caller at a tenant, and what every push needs to know of both."""

    store: ResourceStore
    attachments: AttachmentStore
    tenant: Tenant
    caller: Caller
    base: str
    """The tenant's base URL."""
    secret: bytes
    clock: Callable[[], datetime]
    settings: IngestSettings
    limits: SearchLimits
    metrics: IngestMetrics
    new_id: Callable[[], str] = secret_id
    """Maker of ids for creates. The replay of a dead letter brings its own, so that it makes no twins."""
    refused: Callable[[Sequence[RefusedEntry]], Awaitable[list[str | None]]] | None = None
    """Keeps refused entries of a Bundle as dead letters; gives each one's letter, where there is one."""
    since: datetime | None = None
    """Moment at which a dead letter that is pushed again came last: it replaces nothing that came since."""
    strict: bool = False
    """Whether deviations from R4 refuse what is pushed."""
    prefer: str = ""
    """Preferences of the request."""
    stable_sources: frozenset[str] = frozenset()
    """Sources whose ids the tenant declares stable."""
    audit: AuditTrail | None = None
    """Audit that notes when a report moves; None: nowhere, in tests of the edge."""
    access: Access | None = None
    """The access that the push is, on its way into the audit; None: nobody asked over HTTP."""
    work: Work = at_once
    """Way to do pure work on what was pushed: beside the event loop, when it is large."""
    beside: Work = at_once
    """Way to do pure work on what turns out to be large only later."""
    documents: bool = True
    """Whether there may be documents in what is pushed that are too long to stay inside."""
    uploads: frozenset[str] = frozenset()
    """Ids of files that the caller uploaded before, and that what is pushed refers to."""
    unit: StoreInTransaction | None = None
    """The transaction of the push, which is `store`, too; None: it has none."""
    later: Callable[[Later], None] | None = None
    """Takes what is to be done once the transaction of the request is durable; None: it has none."""
    derived_from: tuple[str, ...] = ()
    """`Type/id` of the records of the message that is pushed: they stay as long as its reports."""

    def for_bytes(self, size: int) -> PushContext:
        """The caller, with work fit for a body of this size."""
        return self._replace(work=self.beside) if size > LIGHT_BYTES else self

    def latest_source_time(self) -> datetime:
        """Latest time of a source that is believed; a later one is that of a wrong clock."""
        return self.clock() + timedelta(seconds=self.settings.source_ahead_seconds)

    def holds_documents(self, resource: JsonObject) -> bool:
        """Whether a resource, or a Bundle of them, has documents that must be taken out."""
        longest = self.settings.attachment_inline_bytes_max
        return self.documents and holds_documents(resource, longer_than=longest)
