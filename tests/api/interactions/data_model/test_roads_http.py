"""A result by HL7 v2, by FHIR and in the Data Model, in every order, corrected by any road: one report."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from store.tenancy import Tenant, TenantSettings
from tests.api.interactions.data_model.test_formats_http import FHIR, PROFILE, SEGMENTS
from tests.support.data_model import result, results_new
from tests.support.service import opened_service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Answer, Service

Json = dict[str, Any]
RESULT = "urn:uuid:5f3c7b5e-0000-4000-8000-000000000004"


class News(NamedTuple):
    """A state of one result, as its source tells it by any road."""

    patient: str
    hour: int
    value: str
    corrected: bool = False

    @property
    def filler(self) -> str:
        return f"FIL-{self.patient}"

    @property
    def placer(self) -> str:
        return f"ORD-{self.patient}"


async def by_hl7(service: Service, news: News) -> Answer:
    status = "C" if news.corrected else "F"
    text = "\r".join(SEGMENTS)
    for old, new in (
        ("20261120110000Z", f"20261120{news.hour:02}0000Z"),
        ("M-1", uuid4().hex[:12]),
        ("MADEUP-1", news.patient),
        ("ORD-1", news.placer),
        ("FIL-1", news.filler),
        ("|5.10|", f"|{news.value}|"),
        ("|||F", f"|||{status}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return await service.request("POST", "$hl7v2", data=text, content_type="application/hl7-v2")


async def by_fhir(service: Service, news: News) -> Answer:
    status = "corrected" if news.corrected else "final"
    message: Json = deepcopy(FHIR)
    message["timestamp"] = f"2026-11-20T{news.hour:02}:00:00Z"
    patient, report = (message["entry"][n]["resource"] for n in (1, 2))
    patient["identifier"][0]["value"] = news.patient
    report["identifier"][0]["value"] = news.filler
    report |= {"status": status, "result": [{"reference": RESULT}]}
    observation = {
        "resourceType": "Observation",
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
        "subject": report["subject"],
        "effectiveDateTime": report["effectiveDateTime"],
        "valueQuantity": {"value": float(news.value), "unit": "mmol/L"},
    }
    message["entry"].append({"fullUrl": RESULT, "resource": observation})
    return await service.request("POST", "$process-message", message)


async def by_data_model(service: Service, news: News) -> Answer:
    status = "Corrected" if news.corrected else "Final"
    numbers = {"ID": news.placer, "ApplicationOrderID": news.filler, "ResultsStatus": status}
    message = results_new(
        result(value=news.value, Status=status),
        meta={"EventDateTime": f"2026-11-20T{news.hour:02}:00:00Z"},
        **numbers,
    )
    message["Patient"]["Identifiers"] = [{"ID": news.patient, "IDType": "MR"}]
    message["Patient"]["Demographics"] |= {"SSN": None}
    return await service.request("POST", "$data-model", message, content_type="application/json")


ROADS = (by_hl7, by_fhir, by_data_model)


async def shown(service: Service, patient: str) -> tuple[str, int, str, list[str]]:
    """Id, version and status of the only report of a patient, and the values of its results."""
    number = f"urn:madeup:mr|{patient}"
    assert len((await service.search(f"identifier={number}", type="Patient")).ids) == 1
    found = await service.search(f"patient.identifier={number}&_include=DiagnosticReport:result")
    [report] = [one["resource"] for one in found.matches]
    values = [
        one["resource"]["valueQuantity"]["value"]
        for one in found.digits["entry"]
        if one["resource"]["resourceType"] == "Observation"
    ]
    assert len(report["result"]) == len(values)
    return report["id"], int(report["meta"]["versionId"]), report["status"], values


async def test_one_result_by_any_road_in_any_order_is_one_report(mongodb: str, tmp_path: Path) -> None:
    tenant = Tenant(f"org-{uuid4().hex[:12]}", "Development")
    (tmp_path / "lis.toml").write_text(PROFILE)
    sources = tmp_path / "sources.toml"
    sources.write_text(
        f'[[source]]\nname = "lis"\ntenant = "{tenant}"\nprofile = "lis.toml"\n'
        'sending_application = "LIS"\ndata_model = ["made-up-source"]\n'
    )
    async with opened_service(mongodb, mllp_sources=sources) as other:
        await other.access.put_tenant(TenantSettings(tenant))
        service = await replace(other, tenant=tenant).with_token(scopes=["system/*.cruds"])
        for number, order in enumerate(permutations(ROADS)):
            patient = f"MADEUP-{number}"
            names = [road.__name__ for road in order]
            ids = set()
            for step, road in enumerate(order):
                told = await road(service, News(patient, 10 + step, f"5.{step}"))
                assert told.status == 200, (names, told.text)
                found, _, status, values = await shown(service, patient)
                ids.add(found)
                assert (status, values) == ("final", [f"5.{step}"]), names
            for step, road in enumerate(order):  # Each corrects what another one told.
                told = await road(service, News(patient, 14 + step, f"6.{step}", corrected=True))
                assert told.status == 200, (names, told.text)
                found, version, status, values = await shown(service, patient)
                ids.add(found)
                assert (status, values) == ("corrected", [f"6.{step}"]), names
            for road in order:  # What is older comes late by any road, and is the report's past.
                told = await road(service, News(patient, 9, "4.9"))
                assert told.status == 200, (names, told.text)
                found, version, status, values = await shown(service, patient)
                assert (status, values) == ("corrected", ["6.2"]), names
            assert len(ids) == 1, names
            assert version == 6, names
