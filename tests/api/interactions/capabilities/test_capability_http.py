"""`/metadata` over HTTP: open, cacheable, and true."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import FHIR_UTF8, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import Mapping


async def statement(service: Service) -> Mapping[str, Any]:
    answer = await service.get("metadata")
    assert answer.status == 200
    body: Mapping[str, Any] = answer.body
    return body


async def test_it_needs_no_token(service: Service) -> None:
    stranger = Service(service.client, service.clock, service.tenant)
    answer = await stranger.get("metadata")
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8)
    body = answer.body
    assert (body["resourceType"], body["fhirVersion"], body["kind"]) == (
        "CapabilityStatement",
        "4.0.1",
        "instance",
    )
    assert body["implementation"]["url"] == service.base


async def test_it_can_be_kept(service: Service) -> None:
    first = await service.get("metadata")
    again = await service.get("metadata", if_none_match=first.headers["ETag"])
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", first.headers["ETag"])


async def test_the_rules_of_r4_for_a_statement(service: Service) -> None:
    body = await statement(service)
    assert {"status", "date", "kind", "fhirVersion", "format"} <= body.keys()
    assert body["software"]["name"]
    [rest] = body["rest"]
    assert rest["mode"] == "server"
    types = Counter(row["type"] for row in rest["resource"])
    assert set(types.values()) == {1}
    for row in rest["resource"]:
        names = Counter(parameter["name"] for parameter in row["searchParam"])
        assert set(names.values()) == {1}, row["type"]
        codes = Counter(interaction["code"] for interaction in row["interaction"])
        assert set(codes.values()) == {1}, row["type"]


async def test_every_parameter_of_a_report_is_taken_as_it_says(service: Service) -> None:
    values = {"token": "x", "reference": "x", "date": "2020", "string": "x", "uri": "x", "quantity": "5"}
    [rest] = (await statement(service))["rest"]
    by_type = {row["type"]: row for row in rest["resource"]}
    for parameter in by_type["DiagnosticReport"]["searchParam"]:
        asked = f"patient=p1&{parameter['name']}={values[parameter['type']]}"
        answer = await service.search(asked, prefer="handling=strict")
        assert (answer.status, answer.links["self"].endswith(asked)) == (200, True), parameter["name"]


SHAPING = {
    "_count": "1",
    "_total": "accurate",
    "_sort": "date",
    "_summary": "true",
    "_elements": "status",
    "_include": "DiagnosticReport:patient",
    "_revinclude": "Provenance:target",
    "_has": "a",
}


async def test_what_shapes_an_answer_is_listed_and_taken(service: Service) -> None:
    """A client that finds no `_summary` there does not ask for it."""
    rest = (await service.get("metadata")).body["rest"][0]
    listed = [one["name"] for one in rest["searchParam"]]
    assert sorted(listed) == sorted(SHAPING)
    for name, value in SHAPING.items():
        asked = f"{name}:Provenance:target:_id" if name == "_has" else name
        answer = await service.search([("patient", "p1"), (asked, value)], prefer="handling=strict")
        assert answer.status == 200, answer.text


@pytest.mark.parametrize("name", ["order", "context", "resultsInterpreter", "patient", "based-on", "_id"])
async def test_upstream_s_names_are_listed(service: Service, name: str) -> None:
    [rest] = (await statement(service))["rest"]
    by_type = {row["type"]: row for row in rest["resource"]}
    assert name in {parameter["name"] for parameter in by_type["DiagnosticReport"]["searchParam"]}


async def test_every_interaction_of_a_report_is_served(service: Service) -> None:
    [rest] = (await statement(service))["rest"]
    by_type = {row["type"]: row for row in rest["resource"]}
    listed = {interaction["code"] for interaction in by_type["DiagnosticReport"]["interaction"]}
    body = {"resourceType": "DiagnosticReport", "id": "r1", "status": "final", "code": {"text": "x"}}
    path = "DiagnosticReport/r1"
    served = {
        "create": (await service.request("POST", "DiagnosticReport", body)).status == 201,
        "update": (await service.request("PUT", path, body)).status == 201,
        "read": (await service.get(path)).status == 200,
        "vread": (await service.get(f"{path}/_history/1")).status == 200,
        "search-type": (await service.search("_id=r1")).status == 200,
        "history-instance": (await service.get(f"{path}/_history")).body["total"] == 1,
        "history-type": (await service.get("DiagnosticReport/_history")).body["total"] == 2,
        "patch": (await service.request("PATCH", path, [], content_type="application/json-patch+json")).status
        == 200,
        "delete": (await service.delete(path)).status == 204,
    }
    assert served == dict.fromkeys(listed, True)


async def test_conditional_writes_are_as_it_says(service: Service) -> None:
    body = await statement(service)
    assert body["patchFormat"] == ["application/json-patch+json", "application/merge-patch+json"]
    [rest] = body["rest"]
    [row] = [row for row in rest["resource"] if row["type"] == "DiagnosticReport"]
    assert (row["conditionalCreate"], row["conditionalUpdate"], row["conditionalDelete"]) == (
        True,
        True,
        "single",
    )
    resource: dict[str, Any] = {"resourceType": "DiagnosticReport", "status": "final"}
    resource["code"] = {"text": "x"}
    resource["identifier"] = [{"system": "urn:x", "value": "1"}]
    path = "DiagnosticReport?identifier=urn:x|1"
    assert (await service.create(resource, if_none_exist=path.partition("?")[2])).status == 201
    assert (await service.request("PUT", path, resource)).status == 200
    await service.create(resource)
    assert (await service.delete(path)).status == 412  # Several: "single" deletes none of them.


async def test_the_base_is_the_public_one(mongodb: str) -> None:
    async with opened_service(mongodb, base_url="https://dod.example") as service:
        base = f"https://dod.example/fhir/R4/{service.tenant}"
        assert (await statement(service))["implementation"]["url"] == base
        body = {"resourceType": "Patient", "id": "p1"}
        assert (await service.put(body)).headers["Location"] == f"{base}/Patient/p1/_history/1"
        found = (await service.search("_id=p1", type="Patient")).body
        assert found["entry"][0]["fullUrl"] == f"{base}/Patient/p1"
        assert found["link"][0]["url"] == f"{base}/Patient?_id=p1"


async def test_a_lower_case_environment_has_no_statement(service: Service) -> None:
    path = service.root.replace("Development", "development")
    answer = await service.get(str(service.client.make_url(f"{path}/metadata")))
    assert (answer.status, answer.issues) == (404, [("error", "not-found")])


async def test_smart_configuration_is_open_json(service: Service) -> None:
    stranger = Service(service.client, service.clock, service.tenant)
    answer = await stranger.get(".well-known/smart-configuration", accept="text/html")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "application/json")
    assert "system/DiagnosticReport.cruds" in answer.body["scopes_supported"]
