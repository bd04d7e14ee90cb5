"""Strict handling as a setting of the tenant, and for every kind of push."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from store.tenancy import Handling
from tests.support.fhir import Json, report

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

FAULTY = report("r1", category={"text": "object for list"})


async def pushes(service: Service, prefer: str | None) -> list[int]:
    headers = {} if prefer is None else {"Prefer": f"handling={prefer}"}

    async def sent(method: str, path: str, body: Json) -> Answer:
        return await service.request(method, path, body, headers=headers)

    def bundled(kind: str) -> Json:
        request = {"method": "PUT", "url": "DiagnosticReport/r1"}
        return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": FAULTY, "request": request}]}

    batch = await sent("POST", "", bundled("batch"))
    return [
        (await sent("PUT", "DiagnosticReport/r1", FAULTY)).status,
        (await sent("POST", "DiagnosticReport", FAULTY)).status,
        (await sent("POST", "", bundled("transaction"))).status,
        int(batch.body["entry"][0]["response"]["status"][:3]),
    ]


@pytest.mark.parametrize(
    ("tenant", "prefer", "refused"),
    [
        (None, None, False),
        (None, "strict", True),
        (Handling.STRICT, None, True),
        (Handling.STRICT, "lenient", False),
        (Handling.LENIENT, None, False),
        (Handling.LENIENT, "strict", True),
    ],
)
async def test_how_deviations_are_taken(
    service: Service, tenant: Handling | None, prefer: str | None, refused: bool
) -> None:
    settings = await service.access.tenant(service.tenant)
    assert settings is not None
    await service.access.put_tenant(replace(settings, handling=tenant))
    found = await pushes(service, prefer)
    assert [status == 422 for status in found] == [refused] * 4, found
