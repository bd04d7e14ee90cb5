"""Every route with every kind of credential: the exact status, by a table."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.auth.scopes import ADMIN, AUDIT, OWN, PURGE
from api.commands.access.clients import disabled
from api.http.app_keys import REGISTRY
from api.routes import MESSAGES, routes
from store.tenancy import Tenant
from tests.api.auth.asking import bearer_of
from tests.support.data_model import results_new, results_query
from tests.support.fhir import batch, coded, message, patient, refers, report, resource
from tests.support.oauth import key
from tests.support.service import FHIR, FORM, Service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.service import Answer, Json

NARROW: Final = "system/Observation.rs?category=laboratory"
PATCH: Final = "application/json-patch+json"
REQUEST: Final = re.compile(r'"(?:Attempt)?ID":"[0-9a-f-]{36}"')
"""The request's id in the envelope of the Data Model."""
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


def test_the_table_says_what_each_route_needs() -> None:
    needs = {row.name: (row.scope, row.open) for row in routes()}
    assert needs == {name: (rows[0].scope, rows[0].is_open) for name, rows in ROWS.items()}
    checked_by_handlers = {name for name, (scope, is_open) in needs.items() if not scope and not is_open}
    assert checked_by_handlers == {
        "query",
        "batch",
        "read-binary",
        "vread-binary",
        "audit-search",
        "audit-search-get",
        "audit-search-post",
        "audit-read",
        "changes",
    }
    for row in routes():
        assert row.scope in OWN or set(row.scope) <= set("cruds")


async def test_every_route_with_every_credential(service: Service) -> None:
    await service.load(patient("p1"), observation("lab"))
    client = await service.register(key("rsa"), scopes=("system/*.cruds",))
    stopped = await bearer_of(service, client)
    assert await service.clients.put(disabled(client, service.clock()))
    expired = await service.with_token(scopes=["system/*.cruds"])
    service.clock.move(days=30)
    nobody = replace(service, headers={})
    unknown = replace(service, headers={"Authorization": "Bearer a.b.c"})
    here = await service.with_token(scopes=["system/*.cruds"])
    elsewhere = replace(here, tenant=Tenant(service.tenant.organization, "Production"))
    unfit = await service.with_token(scopes=["system/Account.cruds"])
    push = await service.with_token(scopes=["dod/push"])
    narrow = await service.with_token(scopes=[NARROW])
    for name, rows in ROWS.items():
        for row in rows:
            for who, challenge in (
                (nobody, 401),
                (unknown, 401),
                (expired, 401),
                (stopped, 401),
                (elsewhere, row.whole if row.path.startswith("/") else 403),  # Its tenant is its token's.
            ):
                answer = await ask(who, row)
                assert answer.status == (row.whole if row.is_open else challenge), (name, answer.text)
                assert ("WWW-Authenticate" in answer.headers) is (answer.status == 401)
            for kind, who, status in (
                ("unfit", unfit, row.unfit),
                ("push", push, row.push),
                ("narrow", narrow, row.narrow),
                ("whole", here, row.whole),
            ):
                answer = await ask(who, row)
                assert answer.status == status, (name, row.path, kind, answer.text)
    entry = ROWS["batch"][0]
    answered = [(await ask(who, entry)).body["entry"][0] for who in (unfit, push, narrow, here)]
    assert [one["response"]["status"][:3] for one in answered] == ["403", "403", "200", "200"]
    for scope, statuses in WITH_OWN.items():
        holder = await service.with_token(scopes=[scope])
        for name, status in statuses.items():
            assert (await ask(holder, ROWS[name][0])).status == status, (scope, name)
        for name, rows in ROWS.items():
            if not rows[0].is_open and rows[0].scope not in ("", scope):
                assert (await ask(holder, rows[0])).status == 403, (scope, name)


# --- isolation


UNASKED: Final = {"ping", "audit", "audit_write", "change_begin", "change_heads", "change_place"}
"""Store calls that come by the clock, or after an answer."""


def operations(service: Service) -> Counter[str]:
    """Number of store calls by operation, but for those that no request makes by itself."""
    return Counter(
        {
            sample.labels["operation"]: int(sample.value)
            for metric in service._app[REGISTRY].collect()
            for sample in metric.samples
            if sample.name == "dod_store_operation_duration_seconds_count"
            and sample.labels["operation"] not in UNASKED
        }
    )


async def test_one_tenants_credential_tells_nothing_of_another_tenant(  # noqa: PLR0915 -- each road
    own_service: Service,
) -> None:
    """The same answer, for as many looks into the database, whether or not there is something."""
    service = own_service  # Jobs on a timer of one that others share look into the database too.
    secret = "OTHER-TENANT-4711"
    other = await service.new_tenant()
    long = "QUFB" * 30_000
    document = [{"contentType": "text/plain", "data": long}]
    await other.load(
        patient("p9", {"system": "urn:mrn", "value": secret}),
        observation("o9", valueString=secret),
        report("r9", "p9", result=[refers("Observation/o9")], presentedForm=document, conclusion=secret),
        report("r8", "p9", conclusion=secret),
    )
    file_id = (await other.get("DiagnosticReport/r9")).body["presentedForm"][0]["url"].rpartition("/")[2]
    link = (await other.search("patient=p9&_count=1")).links["next"].partition("?")[2]
    await service.load(
        patient("p1"),
        report(
            "r1",
            result=[refers("Observation/o9"), refers(f"{other.base}/Observation/o9")],
            subject=refers("Patient/p9"),
        ),
    )

    # At the other's base: refused before anything is looked at.
    reaching, nowhere = (
        replace(service, tenant=other.tenant),
        replace(service, tenant=Tenant("no", "Staging")),
    )
    for rows in ROWS.values():
        for row in (one for one in rows if not one.is_open and not one.path.startswith("/")):
            before = operations(service)
            told = [await ask(reaching, row), await ask(nowhere, row)]
            assert {answer.status for answer in told} == {403}
            assert len({REQUEST.sub("", answer.text) for answer in told}) == 1
            # The tokens are looked up, and nothing else.
            assert operations(service) - before == Counter(grant=2)
    for path in ("DiagnosticReport/r9", f"Binary/{file_id}", f"DiagnosticReport?{link}", "Patient/p9/$purge"):
        assert (await reaching.get(path)).text == (await nowhere.get(path)).text

    # At the own base: what is the other's is not told apart from what never was.
    for theirs, never in (
        ("DiagnosticReport/r9", "DiagnosticReport/never"),
        ("DiagnosticReport/r9/_history", "DiagnosticReport/never/_history"),
        ("DiagnosticReport/r9/_history/1", "DiagnosticReport/never/_history/1"),
        (f"Binary/{file_id}", f"Binary/file-{'0' * 40}"),
        (f"Binary/{file_id}/_history/1", f"Binary/file-{'0' * 40}/_history/1"),
    ):
        counts, texts = [], []
        for path in (theirs, never):
            before = operations(service)
            answer = await service.get(path)
            counts.append(operations(service) - before)
            texts.append((answer.status, answer.text.replace(path, "")))
        assert texts[0] == texts[1]
        assert texts[0][0] == 404
        assert counts[0] == counts[1]
    assert (await service.get(f"DiagnosticReport?{link}")).status == 404
    for path in (
        "DiagnosticReport?_id=r9,r8",
        "DiagnosticReport?patient=never",
        f"DiagnosticReport?patient.identifier=urn:mrn|{secret}",
        "DiagnosticReport?patient=p9&result.value-string=OTHER",
        "DiagnosticReport?patient=p9&subject:Patient.identifier=urn:mrn|7",
        "Observation?patient=p1&_has:DiagnosticReport:result:_id=r9",
        f"DiagnosticReport?patient={other.base}/Patient/p9",
    ):
        answer = await service.get(path)
        assert answer.status == 200, answer.text
        assert not answer.ids, path
    for path in (
        "DiagnosticReport?_id=r1&_include=DiagnosticReport:result",
        "DiagnosticReport?_id=r1&_include=*&_include:iterate=*",
        "Patient?_id=p1&_revinclude=DiagnosticReport:patient",
        "Patient/p1/$everything",
    ):
        answer = await service.get(path)
        assert [e["search"]["mode"] for e in answer.body["entry"]] == ["match"], path
    entries = batch(
        ("GET", "DiagnosticReport/r9", None),
        ("GET", f"{other.base}/DiagnosticReport/r9", None),
        ("GET", f"../../{other.tenant}/DiagnosticReport/r9", None),
        ("GET", f"/fhir/R4/{other.tenant}/DiagnosticReport/r9", None),
        ("GET", f"{other.base}/DiagnosticReport?patient=p9", None),
        ("PUT", f"{other.base}/DiagnosticReport/r9", report("r9")),
        ("DELETE", f"{other.base}/DiagnosticReport/r9", None),
        ("GET", f"Binary/{file_id}", None),
    )
    answer = await service.request("POST", "", entries)
    assert secret not in answer.text
    assert {one["response"]["status"][0] for one in answer.body["entry"]} == {"4"}
    for entry in entries["entry"]:
        single = {**entries, "type": "transaction", "entry": [entry]}
        answer = await service.request("POST", "", single)
        assert (answer.status // 100, secret in answer.text) == (4, False)
    for path in ("Patient/p9/$purge", "$dead-letters"):
        admin = await service.with_token(scopes=["dod/purge", "dod/admin"])
        answer = await admin.request(
            "POST" if "purge" in path else "GET", path, {"reason": "asked for by letter"}
        )
        assert secret not in answer.text
    still = await other.get("DiagnosticReport/r9")
    assert (still.status, still.body["meta"]["versionId"]) == (200, "1")
