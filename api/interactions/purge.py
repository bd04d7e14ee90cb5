"""`POST {base}/Patient/{id}/$purge`, for tokens with the scope `dod/admin`: erase one patient.

An erasure may take longer than a request should. It goes on behind a 202, and the same request again tells
what came of it; if the process dies meanwhile, the same request takes it up where it was.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.http.app_keys import PURGES, REQUEST_ID
from ingest.http.app_keys import AUDITED, PRINCIPAL, TENANT
from ingest.http.body import body_of
from ingest.http.replies import fhir_json
from ingest.pipeline.decode import decode
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.erasure import Demand, Erased
from store.retention.subjects import Subject

if TYPE_CHECKING:
    from aiohttp import web

    from store.fhir.datatypes import JsonObject
    from store.retention.receipts import Counted

LOG: Final = logging.getLogger("api.purge")
BODY_BYTES_MAX: Final = 65_536
"""Largest body: it holds a reason."""


async def purge(request: web.Request) -> web.StreamResponse:
    """200 with Parameters that tell what went, 202 while it is under way."""
    tenant, caller = request[TENANT].tenant, request[PRINCIPAL]
    reason = _reason(decode(await body_of(request, most=BODY_BYTES_MAX)))
    subject = Subject(reference=f"Patient/{request.match_info['id']}")
    if AUDITED in request:
        request[AUDITED].erases()
    demand = Demand(tenant, subject, reason, f"{caller.client} ({caller.token_id})")
    erased = await request.app[PURGES].erase(demand)
    status = 202 if erased is None else 200
    who = {"tenant": str(tenant), "client": caller.client, "status": status}
    LOG.info("patient purged", extra={"request_id": request.get(REQUEST_ID), **who})
    headers = {"Retry-After": "10"} if erased is None else {}
    return fhir_json(orjson.dumps(parameters(erased)), status=status, headers=headers)


def _reason(body: JsonObject) -> str:
    """The reason in Parameters, or in plain JSON. Raises ServiceError when there is none."""
    reason: object = body.get("reason")
    if body.get("resourceType") == "Parameters":
        listed = body.get("parameter")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and one.get("name") == "reason":
                reason = one.get("valueString")
    if not isinstance(reason, str):
        text = "a reason is needed: `reason` in Parameters (`valueString`), or in plain JSON"
        raise ServiceError(Category.INCORRECT, Issue("required", text, ("reason",)))
    return reason


def parameters(erased: Erased | None) -> dict[str, Any]:
    """Result of an erasure, as a FHIR resource."""
    if erased is None:
        return {"resourceType": "Parameters", "parameter": [{"name": "state", "valueCode": "running"}]}
    receipt = erased.receipt
    told: list[dict[str, Any]] = [
        {"name": "state", "valueCode": "done"},
        {"name": "deleted", "valueInteger": receipt.deleted},
        {"name": "held", "valueInteger": sum(one.count for one in receipt.skipped)},
        {"name": "shared", "valueInteger": erased.shared},
        {"name": "receipt", "valueInteger": receipt.number},
        {"name": "hash", "valueString": receipt.hash},
    ]
    told += [_counted("deletedOf", one) for one in receipt.rows]
    told += [_counted("heldOf", one) for one in receipt.skipped]
    return {"resourceType": "Parameters", "parameter": told}


def _counted(name: str, one: Counted) -> dict[str, Any]:
    of_type = [{"name": "type", "valueCode": one.row.type}] if one.row.type else []
    parts = [
        *of_type,
        {"name": "reason", "valueCode": one.row.reason},
        {"name": "count", "valueInteger": one.count},
    ]
    return {"name": name, "part": parts}
