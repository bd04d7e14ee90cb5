"""A source that sends one result as HL7 v2, as FHIR and in upstream's Data Model has one report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from store.tenancy import Tenant, TenantSettings
from tests.support.data_model import result, results_new
from tests.support.service import opened_service

if TYPE_CHECKING:
    from pathlib import Path

SEGMENTS = (
    r"MSH|^~\&|LIS|MADEUP|DOD||20261120110000Z||ORU^R01^ORU_R01|M-1|P|2.5.1",
    "PID|1||MADEUP-1^^^HOSP^MR||Madeup^Ada||19800203|F",
    "OBR|1|ORD-1|FIL-1|24323-8^Panel^LN|||20261120080000Z|||||||||||||||20261120090000Z|||F",
    "OBX|1|NM|2823-3^Potassium^LN||5.10|mmol/L|||||F",
)
MESSAGE = "\r".join(SEGMENTS)
PROFILE = """
endpoint = "urn:madeup:lis"
default_authority = "urn:madeup:mr"
default_order_authority = "urn:madeup:orders"
[authorities]
HOSP = "urn:madeup:mr"
"""
KIND = "http://terminology.hl7.org/CodeSystem/v2-0203"


def number(kind: str, system: str, value: str) -> dict[str, object]:
    return {"type": {"coding": [{"system": KIND, "code": kind}]}, "system": system, "value": value}


FHIR = {
    "resourceType": "Bundle",
    "type": "message",
    "timestamp": "2026-11-20T10:30:00Z",
    "entry": [
        {
            "fullUrl": "urn:uuid:5f3c7b5e-0000-4000-8000-000000000001",
            "resource": {
                "resourceType": "MessageHeader",
                "eventUri": "https://fhir.redoxengine.com/EventDefinition/DiagnosticReportCreate",
                "source": {"endpoint": "urn:madeup:lis"},
                "focus": [{"reference": "urn:uuid:5f3c7b5e-0000-4000-8000-000000000003"}],
            },
        },
        {
            "fullUrl": "urn:uuid:5f3c7b5e-0000-4000-8000-000000000002",
            "resource": {
                "resourceType": "Patient",
                "identifier": [number("MR", "urn:madeup:mr", "MADEUP-1")],
                "name": [{"family": "Madeup", "given": ["Ada"]}],
                "birthDate": "1980-02-03",
            },
        },
        {
            "fullUrl": "urn:uuid:5f3c7b5e-0000-4000-8000-000000000003",
            "resource": {
                "resourceType": "DiagnosticReport",
                "identifier": [number("FILL", "urn:madeup:orders", "FIL-1")],
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "24323-8"}]},
                "subject": {"reference": "urn:uuid:5f3c7b5e-0000-4000-8000-000000000002"},
                "effectiveDateTime": "2026-11-20T08:00:00Z",
            },
        },
    ],
}


async def test_three_formats_of_one_result_are_one_report(mongodb: str, tmp_path: Path) -> None:
    tenant = Tenant(f"org-{uuid4().hex[:12]}", "Development")
    (tmp_path / "lis.toml").write_text(PROFILE)
    sources = tmp_path / "sources.toml"
    sources.write_text(
        f'[[destination]]\nid = "made-up-destination"\ntenant = "{tenant}"\n'
        f'[[source]]\nname = "lis"\ntenant = "{tenant}"\nprofile = "lis.toml"\n'
        'sending_application = "LIS"\ndata_model = ["made-up-source"]\n'
    )
    async with opened_service(mongodb, mllp_sources=sources) as other:
        await other.access.put_tenant(TenantSettings(tenant))
        service = await replace(other, tenant=tenant).with_token(scopes=["system/*.cruds"])
        told = await service.request("POST", "$hl7v2", data=MESSAGE, content_type="application/hl7-v2")
        assert told.status == 200, told.text
        told = await service.request("POST", "$process-message", FHIR)
        assert told.status == 200, told.text
        endpoint = str(service.client.make_url("/endpoint"))
        message = results_new(result(), meta={"EventDateTime": "2026-11-20T12:00:00Z"})
        told = await service.request("POST", endpoint, message, content_type="application/json")
        assert told.status == 200, told.text
        found = await service.search("patient.identifier=urn:madeup:mr|MADEUP-1")
        assert len(found.ids) == 1, found.text
        history = await service.get(f"DiagnosticReport/{found.ids[0]}/_history")
        assert history.body["total"] == 3
        assert len((await service.search("identifier=urn:madeup:mr|MADEUP-1", type="Patient")).ids) == 1
        message["Meta"]["Destinations"] = [{"ID": "another"}]
        refused = await service.request("POST", endpoint, message, content_type="application/json")
        assert refused.status == 403, refused.text
        assert refused.body["Meta"]["Errors"][0]["Path"] == "$.Meta.Destinations"
