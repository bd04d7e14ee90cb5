"""Credentials of a tenant at what another one has: told apart from nothing, by no answer and no look-up."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Final

import pytest

from api.http.app_keys import REGISTRY
from store.tenancy import Tenant
from tests.api.auth.route_table import ROWS, ask, observation
from tests.support.fhir import batch, patient, refers, report
from tests.support.service import Service

REQUEST: Final = re.compile(r'"(?:Attempt)?ID":"[0-9a-f-]{36}"')
"""The request's id in the envelope of the Data Model."""
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


@pytest.mark.usefixtures("asked_each_time")
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
