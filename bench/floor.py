"""The floor: the least aiohttp and Motor code that gives the same answers, as a measure for the service.

It does: read the same requests; one `find(…).to_list(None)` on an index that serves filter and order, under
read concern majority; splice stored bytes into the same searchset Bundle; parse a pushed report once, stamp
it and `insert_one` it under the same write concern (majority, journaled); answer with the same status,
headers and bytes. A batch is one `insert_many` of its resources' bytes, which nothing could search.

It does not: look at the token, the tenant or the media types; know any parameter but `patient=Patient/…`;
page, limit or time out; check a report or keep its digits (`1.00` would become `1.0`); index more than one
patient and one date; keep versions, expiry or digests; count, log or translate errors. It runs no group
commit: each push is one write, as one would write it first.

`MOTOR_MAX_WORKERS` is set by who starts it: at Motor's default (5 for each core) it would be slower.
Run by the benchmark as `python -m bench.floor URI`; prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, TypeAlias
from uuid import uuid4

import orjson
from aiohttp import hdrs, web
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from api.middleware.answer_headers import SAFE

DATABASE: Final = "floor"
COLLECTION: Final = "reports"
INDEX: Final = [("patient", 1), ("when", -1), ("_id", -1)]
"""The one index it needs: a patient's reports, newest first, as the service gives them."""
FHIR_JSON: Final = "application/fhir+json; charset=utf-8"
ROUTE: Final = "/fhir/R4/{organization}/{environment}/DiagnosticReport"
BATCHES: Final = "/fhir/R4/{organization}/{environment}"

Collection: TypeAlias = AsyncIOMotorCollection[dict[str, Any]]  # BSON has no narrower type
REPORTS: Final[web.AppKey[Collection]] = web.AppKey("reports")


def _base(request: web.Request) -> str:
    match = request.match_info
    return f"{request.scheme}://{request.host}/fhir/R4/{match['organization']}/{match['environment']}"


async def search(request: web.Request) -> web.Response:
    """POST DiagnosticReport/_search with `patient=Patient/…`."""
    patient = str((await request.post())["patient"])
    documents = (
        await request.app[REPORTS]
        .find({"patient": patient}, {"raw": 1}, sort=[("when", -1), ("_id", -1)])
        .to_list(None)
    )
    base = _base(request)
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "type": "searchset",
        "total": len(documents),
        "link": [{"relation": "self", "url": f"{base}/DiagnosticReport?patient={patient}"}],
    }
    root = base.encode()
    entries = b",".join(
        b'{"fullUrl":"%b/DiagnosticReport/%b","resource":%b,"search":{"mode":"match","score":1}}'
        % (root, document["_id"].encode(), document["raw"])
        for document in documents
    )
    body = b'%b,"entry":[%b]}' % (orjson.dumps(bundle)[:-1], entries)
    return web.Response(body=body, headers={"Content-Type": FHIR_JSON, "Vary": "Accept-Encoding", **_told()})


def _told() -> dict[str, str]:
    """Headers that each answer of the service has."""
    own = {"Cache-Control": "no-store", "Server": "dod", "X-Request-Id": uuid4().hex}
    return {**own, **SAFE}


async def push(request: web.Request) -> web.Response:
    """POST DiagnosticReport."""
    report = orjson.loads(await request.read())
    report_id, now = str(uuid4()), datetime.now(UTC)
    meta = {"versionId": "1", "lastUpdated": now.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    rest = {name: value for name, value in report.items() if name not in ("resourceType", "id", "meta")}
    raw = orjson.dumps({"resourceType": "DiagnosticReport", "id": report_id, "meta": meta, **rest})
    document = {
        "_id": report_id,
        "patient": report["subject"]["reference"],
        "when": int(datetime.fromisoformat(report["effectiveDateTime"]).timestamp()) * 1_000_000,
        "raw": raw,
    }
    await request.app[REPORTS].insert_one(document)
    headers = {
        hdrs.ETAG: 'W/"1"',
        hdrs.LAST_MODIFIED: format_datetime(now, usegmt=True),
        hdrs.LOCATION: f"{_base(request)}/DiagnosticReport/{report_id}/_history/1",
        hdrs.CONTENT_TYPE: FHIR_JSON,
        **_told(),
    }
    return web.Response(body=raw, status=201, headers=headers)


async def push_batch(request: web.Request) -> web.Response:
    """POST a batch Bundle: its resources as they are, in one `insert_many`."""
    bundle = orjson.loads(await request.read())
    documents = [{"_id": str(uuid4()), "raw": orjson.dumps(one["resource"])} for one in bundle["entry"]]
    await request.app[REPORTS].insert_many(documents, ordered=False)
    answer = {"resourceType": "Bundle", "type": "batch-response"}
    entries = [{"response": {"status": "201 Created"}} for _ in documents]
    return web.Response(body=orjson.dumps({**answer, "entry": entries}), content_type="application/fhir+json")


async def serve(uri: str) -> None:
    """Serve until the process is ended."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri)
    app = web.Application()
    app[REPORTS] = client[DATABASE][COLLECTION].with_options(
        read_concern=ReadConcern("majority"), write_concern=WriteConcern("majority", j=True)
    )
    app.add_routes(
        [web.post(ROUTE + "/_search", search), web.post(ROUTE, push), web.post(BATCHES, push_batch)]
    )
    await app[REPORTS].create_index(INDEX)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(orjson.dumps({"address": site.name}).decode(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
