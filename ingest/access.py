"""Access on its way into the audit: what a request turns out to be about, before it is answered.

The record of a search, or of a push, is handed in before the work is done: it is written meanwhile.
It says that the work was done; when the outcome is another, it is corrected before the answer leaves.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from store.audit.patients import answered_with, of_keys
from store.audit.records import PATIENTS_MAX, QUERY_BYTES_MAX, AuditRecord
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from ingest.caller import Caller
    from store.audit.records import AuditTrail, Pending
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Prepared
    from store.tenancy import Tenant

_REFUSED: Final = 400
_FAILED: Final = 500


class Visit(NamedTuple):
    """The part of an access that is known when its request comes."""

    tenant: Tenant
    at: datetime
    did: str
    """Name of the route."""
    request_id: str
    address: str
    """Address of the client."""


class Access:
    """An access to a tenant's data, and its record as far as it is known."""

    __slots__ = (
        *("_caller", "_entries", "_is_changed", "_is_over", "_patients", "_pending"),
        *("_query", "_required", "_resource", "_trail", "_visit"),
    )

    def __init__(  # noqa: PLR0913 -- what is known of a request
        self,
        trail: AuditTrail,
        visit: Visit,
        caller: Callable[[], Caller | None],
        *,
        required: bool,
        query: bytes = b"",
        resource: str = "",
    ) -> None:
        self._trail = trail
        self._visit = visit
        self._caller = caller
        """Gives the caller, once the request is authenticated."""
        self._required = required
        """Whether there is no answer without a record."""
        self._query = query
        self._resource = resource
        self._patients: dict[str, None] = {}
        self._entries: list[AuditRecord] = []
        self._pending: Pending | None = None
        self._is_changed = False
        """Whether there is more to tell than the record that was begun tells."""
        self._is_over = False

    # --- what it is about

    def about(self, patients: Iterable[str]) -> None:
        """Note patients."""
        before = len(self._patients)
        self._patients.update(dict.fromkeys(patients))
        if len(self._patients) > before:
            self._is_changed = True

    def answers(self, key: ResourceKey, raw: bytes) -> None:
        """Note the patients of a stored resource that is answered."""
        self.about(answered_with(key.type, key.id, raw))

    def asks(self, query: bytes) -> None:
        """Note the query, where it does not stand in the URL alone."""
        self._query = query

    def erases(self) -> None:
        """Note that the patient in the URL is erased: the record of that names nobody."""
        self._patients, self._resource = {}, self._resource.partition("/")[0]

    def entry(self, did: str, resource: str, *, query: bytes = b"", patients: Iterable[str] = ()) -> None:
        """Note an entry of a Bundle that is an access of its own."""
        named = tuple(dict.fromkeys(patients))
        self.about(named)
        record = self._record(0)
        self._entries.append(record._replace(did=did, resource=resource, query=query, patients=named))

    def stores(self, resources: Iterable[Prepared]) -> None:
        """Note resources that are about to be stored; the record is begun."""
        prepared = list(resources)
        for one in prepared:
            self.about(of_keys(one.key.type, one.key.id, one.indexed.keys))
        if not prepared or self._entries or self._pending is not None:
            return
        if len(prepared) == 1 and self._resource == prepared[0].key.type:  # A create: its id was not known.
            self._resource = str(prepared[0].key)
        self.begin()

    # --- into the audit

    def begin(self) -> None:
        """Hand the record in as that of an access that is answered.

        Raises ServiceError when it cannot be, and has to be.
        """
        with nullcontext() if self._required else suppress(ServiceError):
            self._pending = self._trail.begin(self._record(0))
            self._is_changed = False

    def is_told(self) -> None:
        """Leave it: another process has answered, and has put it on record."""
        self._is_over = True

    async def finish(self, status: int) -> None:
        """Return when all of it is on record. Raises ServiceError when it is not, and has to be."""
        if self._is_over:
            return
        self._is_over = True
        try:
            pending = self._handed_in(status if status >= _REFUSED else 0)
            if status < _FAILED:  # A failure of ours shows nobody anything: its record follows.
                for one in pending:
                    await one.kept()
        except ServiceError:
            if self._required and status < _REFUSED:
                raise

    def _handed_in(self, status: int) -> list[Pending]:
        pending = [self._trail.begin(entry) for entry in self._entries]
        if self._pending is None:
            pending.append(self._trail.begin(self._record(status)))
        elif status or self._is_changed:
            pending.append(self._trail.correct(self._pending, self._record(status)))
        else:
            pending.append(self._pending)
        return pending

    def _record(self, status: int) -> AuditRecord:
        visit, caller = self._visit, self._caller()
        return AuditRecord(
            visit.tenant,
            visit.at,
            "" if caller is None else caller.client,
            visit.did,
            status=status,
            patients=tuple(self._patients)[:PATIENTS_MAX],
            resource=self._resource,
            query=self._query[:QUERY_BYTES_MAX],
            request_id=visit.request_id,
            token="" if caller is None else caller.token_id,
            address=visit.address,
        )
