"""Content that leaves in a notification is on record before it is sent: to whom, and whose."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final, Literal

from store.audit.patients import answered_with
from store.audit.records import PATIENTS_MAX, AuditRecord
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from store.audit.records import AuditTrail
    from store.subscriptions.records import Subscription

DID: Final = "notification"
OPERATOR: Final = "operator"
"""Name of whoever set up upstream's notifications for a tenant."""


class Disclosures:
    """Records of what subscribers are told."""

    def __init__(
        self, trail: AuditTrail, mode: Literal["required", "counted", "off"], *, clock: Callable[[], datetime]
    ) -> None:
        self._trail = trail
        self._mode = mode
        self._clock = clock

    async def note(self, one: Subscription, told: Iterable[tuple[str, bytes]]) -> None:
        """Put on record that resources (`Type/id`, content) are about to be sent.

        Raises ServiceError when that cannot be, and has to be: nothing is sent then.
        """
        shown = [(key, raw) for key, raw in told if raw]
        if self._mode == "off" or not shown:
            return
        patients: dict[str, None] = {}
        for key, raw in shown:
            resource_type, _, resource_id = key.partition("/")
            patients.update(dict.fromkeys(answered_with(resource_type, resource_id, raw)))
        holder = one.holder
        record = AuditRecord(
            one.tenant,
            self._clock(),
            OPERATOR if holder is None else holder.client,
            DID,
            patients=tuple(patients)[:PATIENTS_MAX],
            resource=f"Subscription/{one.id}",
            token="" if holder is None else holder.token_id,
        )
        with nullcontext() if self._mode == "required" else suppress(ServiceError):
            await self._trail.begin(record).kept()
