"""Reports of many dates, put one after another, for tests of order and pages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from store.tenancy import Tenant
from tests.support.fhir import (
    report,
)
from tests.support.store import (
    LAB,
    put,
)

if TYPE_CHECKING:
    from store.mongo.resources.resources import MongoResources

MILLISECOND = timedelta(milliseconds=1)


# --- order and pages


async def put_dated(store: MongoResources, tenant: Tenant = LAB) -> None:
    """Reports with dates that tie, that differ, and without."""
    await put(
        store,
        *(
            report(
                f"r{n}",
                effectiveDateTime=f"2020-01-{n // 3 + 1:02}",
                issued=f"2021-01-{n % 4 + 1:02}T00:00:00Z",
            )
            for n in range(9)
        ),
        *(report(f"u{n}") for n in range(3)),
        report("other", "p2"),
        tenant=tenant,
    )
