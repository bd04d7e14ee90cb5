"""Results in upstream's Data Model over HTTP: stored, found by FHIR, refused at their place, replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.tenancy import Tenant, TenantSettings
from tests.support.data_model import result, results_new, without

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

Json = dict[str, Any]
LETTERS = ("system/*.cruds", "dod/admin")


async def post(service: Service, message: Any, path: str = "/endpoint", **options: Any) -> Answer:
    url = str(service.client.make_url(path)) if path.startswith("/") else path
    return await service.request("POST", url, message, content_type="application/json", **options)


async def test_a_message_to_the_endpoint_is_found_by_fhir(service: Service) -> None:
    answer = await post(service, results_new())
    assert answer.status == 200, answer.text
    told = answer.body["Meta"]
    assert told["Logs"][0]["ID"] == answer.headers["X-Request-Id"]
    assert "Warnings" not in told
    for asked in (
        f"patient.identifier=urn:redox:{service.tenant.organization}:MR|MADEUP-1",
        f"patient.identifier=MADEUP-1&identifier=urn:redox:{service.tenant.organization}:OrderID|ORD-1",
        "patient.identifier=MADEUP-1&order=ORD-1&code=http://loinc.org|24323-8&status=final&date=2026-11-20",
    ):
        found = await service.search(f"{asked}&_include=DiagnosticReport:result")
        assert len(found.ids) == 1, found.text
    [report] = [one["resource"] for one in found.matches]
    assert report["issued"] == "2026-11-20T09:00:00.000Z"
    entries = found.digits["entry"]
    results = [one["resource"] for one in entries if one["resource"]["resourceType"] == "Observation"]
    first, second = sorted(results, key=lambda one: str(one["code"]))
    assert first["valueQuantity"] == {"value": "5.10", "unit": "mmol/L"}
    assert first["interpretation"][0]["coding"][0]["code"] == "HH"
    assert first["note"] == [{"text": "Made-up note."}]
    assert second["valueString"] == "Negative"


async def test_the_same_again_is_one_report_and_what_is_older_never_replaces_what_is_newer(
    service: Service,
) -> None:
    key = {"Idempotency-Key": "made-up"}  # The content says what is the same: a key adds nothing.
    for at, value in (("10", "5.10"), ("10", "5.10"), ("12", "6.20"), ("11", "5.90")):
        message = results_new(result(value=value), meta={"EventDateTime": f"2026-11-20T{at}:00:00.000Z"})
        for path in ("/endpoint", f"{service.base}/$data-model"):
            answer = await post(service, message, path, headers=key)
            assert answer.status == 200, answer.text
            told = [one["Code"] for one in answer.body["Meta"].get("Warnings", ())]
            assert told == (["stale"] if at == "11" else []), (at, path)
    found = await service.search("patient.identifier=MADEUP-1&_include=DiagnosticReport:result")
    assert len(found.ids) == 1
    [value] = [
        one["resource"]["valueQuantity"]
        for one in found.digits["entry"]
        if "valueQuantity" in one["resource"]
    ]
    assert value["value"] == "6.20"


@pytest.mark.parametrize("status", [("Corrected", "corrected"), ("Canceled", "cancelled")])
async def test_a_later_message_changes_the_status_of_the_same_report(
    service: Service, status: tuple[str, str]
) -> None:
    said, kept = status
    assert (await post(service, results_new())).status == 200
    later = results_new(
        result(Status="Deleted"), ResultsStatus=said, meta={"EventDateTime": "2026-11-20T11:00:00Z"}
    )
    assert (await post(service, later)).status == 200
    found = await service.search("patient.identifier=MADEUP-1&_include=DiagnosticReport:result")
    assert [one["resource"]["status"] for one in found.matches] == [kept]
    statuses = [
        one["resource"]["status"] for one in found.body["entry"] if one["search"]["mode"] == "include"
    ]
    assert statuses == ["entered-in-error"]


UNSOLICITED = {"EventType": "NewUnsolicited"}
FAULTS: list[tuple[Json, str]] = [
    (without(results_new(), "Orders.0.ID"), "$.Orders[0].ID"),
    (
        without(results_new(meta=UNSOLICITED, ID=None), "Orders.0.ApplicationOrderID"),
        "$.Orders[0].ApplicationOrderID",
    ),
    (results_new(Results=[{"Code": {"SECRET": 1}}]), "$.Orders[0].Results[0].Code"),
    (results_new(Results=[{"Value": "SECRET"}]), "$.Orders[0].Results[0].Code"),
    (results_new(meta={"EventDateTime": "SECRET"}), "$.Meta.EventDateTime"),
    (results_new(meta={"EventType": "SECRET"}), "$.Meta.EventType"),
    (results_new(meta={"DataModel": "SECRET"}), "$.Meta.DataModel"),
    ({**results_new(), "Patient": {"Demographics": {"LastName": "SECRET"}}}, "$.Patient.Identifiers"),
    ({**results_new(), "Patient": "SECRET"}, "$.Patient"),
    ({**results_new(), "Orders": []}, "$.Orders"),
]


async def test_what_is_wrong_is_refused_at_its_place_and_kept_without_a_value_said(service: Service) -> None:
    service = await service.with_token(scopes=LETTERS)
    for message, path in FAULTS:
        answer = await post(service, message)
        assert answer.status == 400, answer.text
        assert [one["Path"] for one in answer.body["Meta"]["Errors"]] == [path]
        assert answer.body["Meta"]["Logs"][0]["ID"] == answer.headers["X-Request-Id"]
        assert "SECRET" not in answer.text
        assert "Dead-Letter" in answer.headers
    letters = (await service.get("$dead-letters")).body["letters"]
    assert len(letters) == len(FAULTS)
    assert {one["operation"] for one in letters} == {"data-model"}


async def test_a_letter_is_replayed_once_it_is_mended(service: Service) -> None:
    service = await service.with_token(scopes=LETTERS)
    letter = (await post(service, without(results_new(), "Orders.0.ID"))).headers["Dead-Letter"]
    again = await service.request("POST", f"$dead-letters/{letter}/$replay")
    assert again.body["state"] == "open"
    fixed = await service.request(
        "PUT", f"$dead-letters/{letter}", results_new(), content_type="application/json"
    )
    assert fixed.status == 200, fixed.text
    again = await service.request("POST", f"$dead-letters/{letter}/$replay")
    assert again.body["state"] == "replayed", again.text
    assert len((await service.search("patient.identifier=MADEUP-1")).ids) == 1


async def test_unsolicited_results_need_no_order_and_what_is_not_mapped_is_named(service: Service) -> None:
    message = results_new(ID=None, meta=UNSOLICITED, Surprise={"Deep": "value"})
    answer = await post(service, message)
    assert answer.status == 200, answer.text
    assert [one["Path"] for one in answer.body["Meta"]["Warnings"]] == ["$.Orders[0].Surprise"]
    assert "value" not in answer.text.replace("ID", "")
    organization = service.tenant.organization
    asked = f"patient.identifier=MADEUP-1&identifier=urn:redox:{organization}:ApplicationOrderID|FIL-1"
    assert len((await service.search(asked)).ids) == 1


async def test_test_messages_never_go_into_production(service: Service) -> None:
    tenant = Tenant(service.tenant.organization, "Production")
    await service.access.put_tenant(TenantSettings(tenant))
    service.tenant = tenant
    real = await service.with_token(scopes=LETTERS)
    for path in ("/endpoint", f"{real.base}/$data-model"):
        answer = await post(real, results_new(), path)
        assert answer.status == 403, answer.text
        assert answer.body["Meta"]["Errors"][0]["Path"] == "$.Meta.Test"
    assert (await real.search("patient.identifier=MADEUP-1")).ids == []
    assert (await real.get("$dead-letters")).body["letters"] == []
    assert (await post(real, results_new(meta={"Test": False}))).status == 200


async def test_strangers_and_broken_bodies_are_refused_in_the_envelope(service: Service) -> None:
    for status, answer in (
        (401, await post(service, results_new(), headers={"Authorization": "Bearer none"})),
        (400, await post(service, None, data="{")),
        (400, await post(service, [])),
        (
            415,
            await service.request(
                "POST", str(service.client.make_url("/endpoint")), {}, content_type="text/xml"
            ),
        ),
    ):
        assert answer.status == status, answer.text
        assert answer.body["Meta"]["Errors"][0]["Text"]
    reading = await service.with_token(scopes=["system/*.rs"])
    assert (await post(reading, results_new())).status == 403


async def test_a_body_that_cannot_be_read_is_a_letter_where_its_tenant_is_known(service: Service) -> None:
    service = await service.with_token(scopes=LETTERS)
    url = str(service.client.make_url("/endpoint"))
    for body in (b'{"Meta":', b"[]", b"{}", b'{"Meta": 5}', b'{"Meta": {}, "Meta": {}}', b"\xff"):
        told = await service.request("POST", url, data=body, content_type="application/json")
        assert told.status == 400, body
        assert told.body["Meta"]["Errors"]
        letter = told.headers["Dead-Letter"]
        assert (await service.get(f"$dead-letters/{letter}")).body["operation"] == "data-model"
    told = await service.request("POST", url, data=b"<a/>", content_type="application/xml")
    assert told.status == 415
    assert told.body["Meta"]["Errors"]


async def test_a_message_for_somebody_else_is_stored_nowhere(service: Service) -> None:
    other, mine = str((await service.new_tenant()).tenant), str(service.tenant)
    refused = []
    for named in (other, "nobody/Production"):
        for destinations in ([named], [mine, named]):
            message = results_new(meta={"Destinations": [{"ID": one} for one in destinations]})
            for path in ("/endpoint", f"{service.base}/$data-model"):
                answer = await post(service, message, path)
                assert answer.status == 403, (destinations, path)
                [error] = answer.body["Meta"]["Errors"]
                assert error["Path"] == "$.Meta.Destinations"
                assert named not in answer.text
                refused.append((path, error["Text"]))
    assert len(set(refused)) == 2  # In the same words, whether there is such a tenant or not.
    assert (await service.search("patient.identifier=MADEUP-1")).ids == []
    message = results_new(
        meta={"Destinations": [{"ID": "an id of upstream's"}, {"ID": mine}, {"Name": "x/y"}]}
    )
    assert (await post(service, message)).status == 200


async def test_what_is_not_mapped_is_named_up_to_a_bound(service: Service) -> None:
    message = results_new()
    message["Orders"][0] |= {f"Surprise{n}": n for n in range(130)}
    answer = await post(service, message)
    assert answer.status == 200
    warnings = answer.body["Meta"]["Warnings"]
    assert len(warnings) == 101
    assert warnings[-1] == {"Text": "30 more are not mapped, and not kept", "Path": "$"}


async def test_a_doubt_about_who_is_who_is_told_in_the_answer(service: Service) -> None:
    async def warned(message: Json) -> list[tuple[str, str]]:
        answer = await post(service, message)
        assert answer.status == 200, answer.text
        assert "SECRET" not in answer.text
        return [(one["Path"], one["Code"]) for one in answer.body["Meta"].get("Warnings", [])]

    assert await warned(results_new()) == []
    changed = results_new(
        ID="ORD-2", ApplicationOrderID="FIL-2", meta={"EventDateTime": "2026-11-20T11:00:00Z"}
    )
    changed["Patient"]["Demographics"] |= {"FirstName": "Eve", "LastName": "SECRET", "DOB": "1999-09-09"}
    assert await warned(changed) == [("$.Patient", "patient-changed")]
    other = results_new(meta={"EventDateTime": "2026-11-20T12:00:00Z"})
    other["Patient"] = {
        "Identifiers": [{"ID": "MADEUP-7", "IDType": "MR"}],
        "Demographics": {"FirstName": "Bob", "LastName": "SECRET", "DOB": "1970-01-01"},
    }
    assert ("$.Orders", "report-doubted") in await warned(other)
    assert len((await service.search("patient.identifier=MADEUP-7")).ids) == 1
    assert len((await service.search("patient.identifier=MADEUP-1")).ids) == 2
