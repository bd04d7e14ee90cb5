"""Table of every route: a request of it, and the status that each kind of credential gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.auth.scopes import ADMIN, AUDIT, PURGE
from api.routes import MESSAGES
from tests.support.data_model import results_new, results_query
from tests.support.fhir import batch, coded, message, patient, refers, report, resource
from tests.support.service import FHIR, FORM, Service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.service import Answer, Json

NARROW: Final = "system/Observation.rs?category=laboratory"
PATCH: Final = "application/json-patch+json"
ORU: Final = (Path(__file__).parents[3] / "samples" / "report.hl7").read_bytes()
UPLOAD_TYPE: Final = "multipart/form-data; boundary=b"
UPLOAD: Final = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nmade up\r\n--b--\r\n'
LETTER: Final = "00000000-0000-0000-0000-000000000000"


def observation(id: str | None = None, **more: Any) -> Json:
    made = resource(
        "Observation",
        id or "x",
        status="final",
        category=[coded("laboratory", None)],
        code=coded("1-8"),
        subject=refers("Patient/p1"),
        **more,
    )
    return made if id else {name: value for name, value in made.items() if name != "id"}


class Row(NamedTuple):
    """A request of a route, and the status for a token that…"""

    method: str
    path: str
    unfit: int
    """…is for another type."""
    push: int
    """…may push and nothing else."""
    narrow: int
    """…may read and search observations of the laboratory."""
    whole: int
    """…may do everything with every type, and has none of the service's own scopes."""
    body: Any = None
    data: str | bytes | None = None
    content_type: str = FHIR
    scope: str = ""
    """Scope that a route needs, by the table."""
    is_open: bool = False


PATCHED: Final = json.dumps([{"op": "add", "path": "/valueString", "value": "new"}])
BY_NUMBER: Final = "Observation?identifier=urn:a|7"
PATIENTS_REPORTS: Final = asked("patient=Patient/p1")
"""Subscription, which takes more than the right to push: to hear is to read."""
NUMBERED: Final[dict[str, Any]] = {"identifier": [{"system": "urn:a", "value": "7"}]}
ROWS: Final[Mapping[str, tuple[Row, ...]]] = {
    "search-post": (
        Row(
            "POST", "Observation/_search", 403, 403, 200, 200, data="patient=p1", content_type=FORM, scope="s"
        ),
    ),
    "search": (Row("GET", "Observation?patient=p1", 403, 403, 200, 200, scope="s"),),
    "search-get": (Row("GET", "Observation/_search?patient=p1", 403, 403, 200, 200, scope="s"),),
    "search-compartment": (Row("GET", "Patient/p1/Observation", 403, 403, 200, 200, scope="s"),),
    "everything": (Row("GET", "Patient/p1/$everything", 403, 403, 403, 200, scope="r"),),
    "everything-post": (
        Row("POST", "Patient/p1/$everything", 403, 403, 403, 200, {"resourceType": "Parameters"}, scope="r"),
    ),
    "read": (Row("GET", "Observation/lab", 403, 403, 200, 200, scope="r"),),
    "vread": (Row("GET", "Observation/lab/_history/1", 403, 403, 200, 200, scope="r"),),
    "history-instance": (Row("GET", "Observation/lab/_history", 403, 403, 200, 200, scope="r"),),
    "history-type": (Row("GET", "Observation/_history", 403, 403, 403, 200, scope="rs"),),
    "changes": (Row("GET", "$changes?_type=Observation&_wait=0", 403, 403, 403, 200),),
    "audit-search": (Row("GET", "AuditEvent?_id=none", 403, 403, 403, 200),),
    "audit-search-get": (Row("GET", "AuditEvent/_search?_id=none", 403, 403, 403, 200),),
    "audit-search-post": (
        Row("POST", "AuditEvent/_search", 403, 403, 403, 200, data="_id=none", content_type=FORM),
    ),
    "audit-read": (Row("GET", "AuditEvent/none", 403, 403, 403, 404),),
    "read-binary": (Row("GET", "Binary/none", 403, 403, 403, 404),),
    "vread-binary": (Row("GET", "Binary/none/_history/1", 403, 403, 403, 404),),
    "create-binary": (
        Row("POST", "Binary", 403, 201, 403, 201, data="text", content_type="text/plain", scope="c"),
    ),
    "update-binary": (
        Row("PUT", "Binary/b1", 403, 201, 403, 200, data="text", content_type="text/plain", scope="u"),
    ),
    "create": (Row("POST", "Observation", 403, 201, 403, 201, observation(), scope="c"),),
    "update": (Row("PUT", "Observation/u1", 403, 201, 403, 200, observation("u1"), scope="u"),),
    "delete": (Row("DELETE", "Observation/none", 403, 403, 403, 204, scope="d"),),
    "patch": (
        Row("PATCH", "Observation/lab", 403, 200, 403, 200, data=PATCHED, content_type=PATCH, scope="u"),
    ),
    "update-conditional": (Row("PUT", BY_NUMBER, 403, 201, 403, 200, observation(**NUMBERED), scope="u"),),
    "patch-conditional": (
        Row("PATCH", BY_NUMBER, 403, 200, 403, 200, data=PATCHED, content_type=PATCH, scope="u"),
    ),
    "delete-conditional": (
        Row("DELETE", "Observation?identifier=urn:a|none", 403, 403, 403, 204, scope="d"),
    ),
    "batch": (Row("POST", "", 200, 200, 200, 200, batch(("GET", "Observation/lab", None))),),
    "process-message": tuple(
        Row(
            "POST",
            path.rpartition("{environment}/")[2],
            403,
            200,
            403,
            200,
            message(patient("p1"), observation("m1") if "Observation/" in path else report("m2")),
            scope="cu",
        )
        for path in MESSAGES
    ),
    "hl7v2": (
        Row("POST", "$hl7v2", 403, 200, 403, 200, data=ORU, content_type="application/hl7-v2", scope="cu"),
    ),
    "data-model": (
        Row(
            "POST",
            "$data-model",
            403,
            200,
            403,
            200,
            results_new(),
            content_type="application/json",
            scope="cu",
        ),
    ),
    "endpoint": (
        Row(
            "POST",
            "/endpoint",
            403,
            200,
            403,
            200,
            results_new(),
            content_type="application/json",
            scope="cu",
        ),
    ),
    "explorer": (Row("GET", "/explorer", 200, 200, 200, 200, is_open=True),),
    "explorer-file": (Row("GET", "/explorer/static/app.js", 200, 200, 200, 200, is_open=True),),
    "explorer-library": (Row("GET", "/explorer/library/uplot.js", 200, 200, 200, 200, is_open=True),),
    **{
        name: (Row("POST", path, 403, 201, 403, 201, data=UPLOAD, content_type=UPLOAD_TYPE, scope="cu"),)
        for name, path in (("upload", "/upload"), ("upload-tenant", "$upload"))
    },
    "subscription-search": (Row("GET", "Subscription", 403, 403, 403, 200, scope="s"),),
    "subscription-search-get": (Row("GET", "Subscription/_search", 403, 403, 403, 200, scope="s"),),
    "subscription-search-post": (
        Row("POST", "Subscription/_search", 403, 403, 403, 200, data="", content_type=FORM, scope="s"),
    ),
    "subscription-topics": (Row("GET", "Subscription/$topic-list", 403, 403, 403, 200, scope="r"),),
    "subscriptions-status": (Row("GET", "Subscription/$status", 403, 403, 403, 200, scope="r"),),
    "subscriptions-status-post": (Row("POST", "Subscription/$status", 403, 403, 403, 200, {}, scope="r"),),
    "subscription-status": (Row("GET", "Subscription/none/$status", 403, 403, 403, 404, scope="r"),),
    "subscription-status-post": (
        Row("POST", "Subscription/none/$status", 403, 403, 403, 404, {}, scope="r"),
    ),
    "subscription-events": (Row("GET", "Subscription/none/$events", 403, 403, 403, 404, scope="r"),),
    "subscription-events-post": (
        Row("POST", "Subscription/none/$events", 403, 403, 403, 404, {}, scope="r"),
    ),
    "subscription-secret": (
        Row("POST", "Subscription/none/$signing-secret", 403, 403, 403, 404, {}, scope="ru"),
    ),
    "subscription-create": (Row("POST", "Subscription", 403, 403, 403, 201, PATIENTS_REPORTS, scope="c"),),
    "subscription-read": (Row("GET", "Subscription/none", 403, 403, 403, 404, scope="r"),),
    "subscription-update": (
        Row("PUT", "Subscription/s1", 403, 403, 403, 201, {**PATIENTS_REPORTS, "id": "s1"}, scope="u"),
    ),
    "subscription-delete": (Row("DELETE", "Subscription/none", 403, 403, 403, 204, scope="d"),),
    "data-model-schema": (Row("GET", "/data-model/schema", 200, 200, 200, 200, is_open=True),),
    "query": (
        Row("POST", "/query", 403, 403, 403, 200, results_query("none"), content_type="application/json"),
    ),
    "verify": (Row("GET", "", 400, 400, 400, 400, is_open=True),),
    "dead-letters": (Row("GET", "$dead-letters", 403, 403, 403, 403, scope=ADMIN),),
    "dead-letter": (Row("GET", f"$dead-letters/{LETTER}", 403, 403, 403, 403, scope=ADMIN),),
    "dead-letter-fix": (
        Row("PUT", f"$dead-letters/{LETTER}", 403, 403, 403, 403, observation(), scope=ADMIN),
    ),
    "dead-letter-discard": (Row("DELETE", f"$dead-letters/{LETTER}", 403, 403, 403, 403, scope=ADMIN),),
    "dead-letter-replay": (Row("POST", f"$dead-letters/{LETTER}/$replay", 403, 403, 403, 403, scope=ADMIN),),
    **{
        name: (Row("GET", f"${name}", 403, 403, 403, 403, scope=ADMIN),)
        for name in ("retention", "retention-plan", "tenants", "clients")
    },
    "purge": (Row("POST", "Patient/p1/$purge", 403, 403, 403, 403, {}, scope=PURGE),),
    "metadata": (Row("GET", "metadata", 200, 200, 200, 200, is_open=True),),
    "openapi": (Row("GET", "openapi.json", 200, 200, 200, 200, is_open=True),),
    "smart": (Row("GET", ".well-known/smart-configuration", 200, 200, 200, 200, is_open=True),),
    "token": (Row("POST", "/v2/auth/token", 400, 400, 400, 400, is_open=True),),
}
WITH_OWN: Final = {
    ADMIN: {
        "dead-letters": 200,
        "dead-letter": 404,
        "dead-letter-discard": 404,
        "dead-letter-replay": 404,
        **dict.fromkeys(("retention", "retention-plan", "tenants", "clients"), 200),
    },
    PURGE: {"purge": 400},
    AUDIT: {
        **dict.fromkeys(("audit-search", "audit-search-get", "audit-search-post"), 400),
        "audit-read": 404,
    },
}
"""Status for a token that has one of the service's own scopes, and no other."""


async def ask(service: Service, row: Row) -> Answer:
    path = str(service.client.make_url(row.path)) if row.path.startswith("/") else row.path
    return await service.request(row.method, path, row.body, data=row.data, content_type=row.content_type)
