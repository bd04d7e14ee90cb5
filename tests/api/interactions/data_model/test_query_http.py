"""Queries in upstream's Data Model: results of any origin come back in its shape, as scopes allow."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ingest.data_model.from_fhir import outgoing
from ingest.data_model.models import ResultsNew, read
from tests.api.interactions.data_model.test_formats_http import FHIR, MESSAGE
from tests.support.data_model import order, results_new, results_query
from tests.support.fhir import coded, identified, refers, report, resource
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

Json = dict[str, Any]
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"


async def post(service: Service, message: Any, path: str) -> Answer:
    url = str(service.client.make_url(path))
    return await service.request("POST", url, message, content_type="application/json")


async def asked(service: Service, *patients: str, **changed: Any) -> list[Json]:
    answer = await post(service, results_query(*patients, **changed), "/query")
    assert answer.status == 200, answer.text
    assert answer.body["Meta"]["IsIncomplete"] is False
    orders: list[Json] = answer.body["Orders"]
    return orders


async def test_what_came_as_data_model_goes_out_with_every_field(service: Service) -> None:
    message = results_new()
    assert (await post(service, message, "/endpoint")).status == 200
    [found] = await asked(service, "MADEUP-1")
    sent = read(ResultsNew, message).model_dump()
    wanted = outgoing({**sent["Orders"][0], "Patient": sent["Patient"], "Visit": sent["Visit"]})
    assert found == wanted


async def test_each_criterion_narrows_and_patients_add_up(service: Service) -> None:
    for patient, number in (("MADEUP-1", "A"), ("MADEUP-2", "B"), ("MADEUP-3", "C")):
        message = results_new()
        message["Patient"]["Identifiers"] = [{"ID": patient, "IDType": "MR"}, {"ID": "7", "IDType": "EHRID"}]
        message["Patient"]["Demographics"] = {"LastName": number, "DOB": "1980-02-03"}
        message["Orders"] = [
            order(ID=f"{number}-1", ApplicationOrderID=None),
            order(
                ID=f"{number}-2",
                ApplicationOrderID=None,
                ResultsStatus="Preliminary",
                Procedure={"Code": "58410-2", "Codeset": "LOINC", "Description": "CBC"},
                CompletionDateTime="2026-11-21T09:00:00.000Z",
            ),
        ]
        assert (await post(service, message, "/endpoint")).status == 200
    for patients, changed, numbers in (
        (("MADEUP-1",), {}, {"A-1", "A-2"}),
        (("MADEUP-1", "MADEUP-3"), {}, {"A-1", "A-2", "C-1", "C-2"}),
        (("MADEUP-1", "none"), {"ResultStatuses": ["Final"]}, {"A-1"}),
        (("MADEUP-1",), {"OrderIDs": ["A-2", "B-1", "x"]}, {"A-2"}),
        (("MADEUP-1", "MADEUP-2"), {"Procedures": [{"Code": "58410-2"}]}, {"A-2", "B-2"}),
        (("MADEUP-1",), {"Completion": {"StartDateTime": "2026-11-21T00:00:00Z"}}, {"A-2"}),
        (("MADEUP-1",), {"Completion": {"EndDateTime": "2026-11-20T10:00:00Z"}}, {"A-1"}),
        (("madeup-1",), {}, set()),
        (("7",), {}, set()),  # It is nobody's record number.
    ):
        found = await asked(service, *patients, **changed)
        assert {one["ID"] for one in found} == numbers, (patients, changed)
        owners = {"A": "MADEUP-1", "B": "MADEUP-2", "C": "MADEUP-3"}
        for one in found:
            assert one["Patient"]["Identifiers"][0]["ID"] == owners[one["ID"][0]]
    both = {"Identifiers": [{"ID": "MADEUP-2", "IDType": "MR"}, {"ID": "7", "IDType": "EHRID"}]}
    assert {one["ID"] for one in await asked(service, Patients=[both])} == {"B-1", "B-2"}
    neither = {"Identifiers": [{"ID": "MADEUP-2", "IDType": "MR"}, {"ID": "8", "IDType": "EHRID"}]}
    assert await asked(service, Patients=[neither]) == []


async def test_what_came_as_hl7_v2_or_fhir_goes_out_too(service: Service) -> None:
    told = await service.request("POST", "$hl7v2", data=MESSAGE, content_type="application/hl7-v2")
    assert told.status == 200, told.text
    fhir: Json = deepcopy(FHIR)
    fhir["entry"][1]["resource"]["identifier"][0]["value"] = "MADEUP-2"
    assert (await service.request("POST", "$process-message", fhir)).status == 200
    [one] = await asked(service, "MADEUP-1")
    assert (one["ID"], one["ApplicationOrderID"], one["ResultsStatus"]) == ("ORD-1", "FIL-1", "Final")
    assert one["Patient"]["Demographics"]["LastName"] == "Madeup"
    [result] = one["Results"]
    assert (result["Code"], result["Codeset"], result["Value"]) == ("2823-3", "LOINC", "5.10")
    assert (result["ValueType"], result["Units"], result["Status"]) == ("Numeric", "mmol/L", "Final")
    [other] = await asked(service, "MADEUP-2")
    assert other["ApplicationOrderID"] == "FIL-1"
    assert other["Procedure"]["Code"] == "24323-8"


async def test_a_cap_is_told_and_a_query_that_asks_for_everybody_is_refused(mongodb: str) -> None:
    async with opened_service(mongodb, query_orders_max=1) as service:
        message = results_new()
        message["Orders"] = [order(ID="A-1"), order(ID="A-2", ApplicationOrderID="FIL-2")]
        assert (await post(service, message, "/endpoint")).status == 200
        answer = await post(service, results_query("MADEUP-1"), "/query")
        assert answer.body["Meta"]["IsIncomplete"] is True
        assert len(answer.body["Orders"]) == 1
        for body, path in (
            (results_query(), "$.Patients"),
            (results_query(Patients=[{"Identifiers": []}]), "$.Patients[0].Identifiers"),
            (results_query("SECRET", ResultStatuses=["SECRET"]), "$.ResultStatuses[0]"),
            (results_query("SECRET", Completion={"StartDateTime": "SECRET"}), "$.Completion.StartDateTime"),
            ({**results_query("SECRET"), "Meta": {"DataModel": "SECRET"}}, "$.Meta.EventType"),
        ):
            refused = await post(service, body, "/query")
            assert refused.status == 400, refused.text
            assert refused.body["Meta"]["Errors"][0]["Path"] == path
            assert "SECRET" not in refused.text
        for scope in ("system/DiagnosticReport.rs", "system/Patient.rs"):
            narrow = await service.with_token(scopes=[scope])
            assert (await post(narrow, results_query("MADEUP-1"), "/query")).status == 403, scope
        other = await service.new_tenant()
        assert (await post(other, results_query("MADEUP-1"), "/query")).body["Orders"] == []


async def test_a_person_is_shown_to_nobody_who_may_not_read_and_search_patients(service: Service) -> None:
    assert (await post(service, results_new(), "/endpoint")).status == 200
    people: tuple[Json, ...] = (
        {"Identifiers": [{"ID": "MADEUP-1", "IDType": "MR"}]},
        {"Demographics": {"SSN": "101-01-0001"}},
        {"Demographics": {"LastName": "MADEUP", "DOB": "1980-02-03"}},
    )
    for scopes, status in (
        (["system/DiagnosticReport.rs"], 403),
        (["system/Patient.r"], 403),
        (["system/Patient.s"], 403),
        (["dod/push"], 403),
        (["dod/admin", "dod/purge", "dod/audit"], 403),
        (["system/Patient.rs"], 200),
        (["system/Patient.rs?identifier=urn:nobody|1"], 200),
    ):
        narrow = await service.with_token(scopes=scopes)
        for patient in people:
            body = {"Meta": {"DataModel": "PatientSearch", "EventType": "Query"}, "Patient": patient}
            answer = await post(narrow, body, "/query")
            assert answer.status == status, (scopes, patient)
            shown = status == 200 and "?" not in scopes[0]
            assert ("MADEUP-1" in answer.text) is shown, (scopes, patient)


async def test_a_person_is_found_by_number_or_by_all_that_is_said(service: Service) -> None:
    assert (await post(service, results_new(), "/endpoint")).status == 200
    who = {"FirstName": "ada", "LastName": "MADEUP", "DOB": "1980-02-03"}
    for patient, is_found in (
        ({"Identifiers": [{"ID": "MADEUP-1", "IDType": "MR"}]}, True),
        ({"Identifiers": [{"ID": "MADEUP-1", "IDType": "EHRID"}]}, False),
        ({"Demographics": who}, True),
        ({"Demographics": {**who, "PhoneNumber": {"Home": "+15550100000"}}}, True),
        ({"Demographics": {**who, "PhoneNumber": {"Home": "+15550100009"}}}, False),
        ({"Demographics": {**who, "LastName": "Made"}}, False),
        ({"Demographics": {"SSN": "101-01-0001"}}, True),
    ):
        body = {"Meta": {"DataModel": "PatientSearch", "EventType": "Query"}, "Patient": patient}
        answer = await post(service, body, "/query")
        assert answer.status == 200, answer.text
        found = answer.body["Patient"]
        assert (found is not None) is is_found, patient
        assert answer.body["PotentialMatches"] == []
        if found:
            assert found["Identifiers"][0] == {"ID": "MADEUP-1", "IDType": "MR"}
    for demographics, path in (
        ({}, "$.Patient"),
        ({"FirstName": "SECRET"}, "$.Patient"),
        ({"LastName": ".*", "DOB": "1980-02-03"}, "$.Patient"),
        ({"DOB": "1980-02-03"}, "$.Patient"),
        ({"LastName": "Madeup", "DOB": "SECRET"}, "$.Patient.Demographics.DOB"),
        ({"LastName": "Madeup", "DOB": "ge1900"}, "$.Patient.Demographics.DOB"),
    ):
        body = {
            "Meta": {"DataModel": "PatientSearch", "EventType": "Query"},
            "Patient": {"Demographics": demographics},
        }
        answer = await post(service, body, "/query")
        assert answer.status == 400, demographics
        assert [one["Path"] for one in answer.body["Meta"]["Errors"]] == [path]
        assert "SECRET" not in answer.text


async def test_a_reference_to_another_server_is_not_taken_for_one_of_ours(service: Service) -> None:
    """Ids of two servers may be equal: the report would come out under the name of another patient."""

    def known(id: str, number: str) -> Json:
        return resource("Patient", id, identifier=[numbered(number)], name=[{"family": f"Family {id}"}])

    def numbered(number: str) -> Json:
        return {**identified("urn:example:mr", number), "type": coded("MR", V2_0203)}

    elsewhere = "https://elsewhere.example/fhir"
    theirs = {"reference": f"{elsewhere}/Patient/p1", "identifier": numbered("MADEUP-2")}
    await service.load(
        known("p1", "MADEUP-1"),
        known("p2", "MADEUP-2"),
        resource("Observation", "o1", status="final", code=coded("1"), valueString="of ours"),
        resource("Practitioner", "d1", name=[{"family": "Of ours"}]),
        report(
            "r1",
            None,
            subject=refers(f"{service.base}/Patient/p1/_history/1"),
            result=[refers("Observation/o1")],
        ),
        report(
            "r2",
            None,
            subject=theirs,
            result=[refers(f"{elsewhere}/Observation/o1")],
            resultsInterpreter=[refers(f"{elsewhere}/Practitioner/d1")],
        ),
    )
    orders = await asked(service, "MADEUP-1", "MADEUP-2")
    told = {one["Patient"]["Identifiers"][0]["ID"]: one for one in orders}
    assert told["MADEUP-1"]["Patient"]["Demographics"]["LastName"] == "Family p1"
    assert len(told["MADEUP-1"]["Results"]) == 1
    assert told["MADEUP-2"]["Patient"]["Demographics"]["LastName"] is None
    assert told["MADEUP-2"]["Results"] == []
    assert "Of ours" not in str(told["MADEUP-2"])
