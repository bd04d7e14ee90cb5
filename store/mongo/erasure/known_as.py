"""The names under which one patient may be on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from store.audit.records import PatientNames
from store.retention.erasure import KnownAs

if TYPE_CHECKING:
    from store.mongo.erasure.known_by import KnownBy
    from store.mongo.rules.erased_names import ErasedNames
    from store.retention.subjects import Subject
    from store.tenancy import Tenant


class MongoPatientNames(PatientNames):
    """Looks names up in what is stored, and adds the digests that stand for them once they are erased."""

    def __init__(self, known_by: KnownBy, erased: ErasedNames) -> None:
        self._known_by = known_by
        self._erased = erased

    @override
    async def known_as(self, tenant: Tenant, subject: Subject) -> frozenset[str]:
        own = KnownAs(
            {subject.reference} if subject.reference else set(),
            {subject.identifier} if subject.identifier else set(),
        )
        await self._known_by.widen(tenant, own)
        digests = [await self._erased.digest_of(tenant, name) for name in sorted(own.names)]
        return frozenset([*own.references, *own.identifiers, *digests])
