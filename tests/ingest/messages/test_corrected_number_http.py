"""A patient's record keeps its id when its number is corrected: whoever has that number next gets another."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from store.mongo.resources.identities import MongoIdentities
from tests.support.fhir import MRN, Json, identified, message, patient, report

if TYPE_CHECKING:
    from tests.support.service import Service


def anna() -> Json:
    return patient("p", identified(MRN, "1"), name=[{"family": "Anna"}])


async def send(service: Service, code: str) -> str:
    """The patient of a report that was sent."""
    sent = message(report("r", "p", code={"text": code}), anna())
    answer = await service.request("POST", "$process-message", sent)
    assert answer.status == 200, answer.text
    [there] = [
        said["response"]["location"].split("/")[-3]
        for said in answer.body["entry"]
        if "/DiagnosticReport/" in said["response"].get("location", "")
    ]
    return str((await service.get(f"DiagnosticReport/{there}")).body["subject"]["reference"])


async def test_the_next_who_has_a_number_does_not_take_the_record_of_who_had_it(service: Service) -> None:
    first = await send(service, "before")
    bert = patient(first.removeprefix("Patient/"), identified(MRN, "2"), name=[{"family": "Bert"}])
    await service.load(bert)  # Under a wrong number so far: the report before is Bert's.
    second = await send(service, "behind")
    assert second != first
    assert await send(service, "again") == second
    there = (await service.get(first)).body
    assert (there["identifier"][0]["value"], there["name"][0]["family"]) == ("2", "Bert")
    assert (await service.get(second)).body["name"][0]["family"] == "Anna"
    assert (await service.search(f"identifier={MRN}|1", type="Patient")).ids == [
        second.removeprefix("Patient/")
    ]


async def test_the_record_of_a_patient_without_number_may_become_anothers(service: Service) -> None:
    who = patient("p", name=[{"family": "Anna"}], birthDate="1980-01-01")

    async def send_without_number(code: str) -> str:
        sent = message(report("r", "p", code={"text": code}), who)
        answer = await service.request("POST", "$process-message", sent)
        assert answer.status == 200, answer.text
        [there] = [
            said["response"]["location"].split("/")[-3]
            for said in answer.body["entry"]
            if "/DiagnosticReport/" in said["response"].get("location", "")
        ]
        return str((await service.get(f"DiagnosticReport/{there}")).body["subject"]["reference"])

    first = await send_without_number("before")
    assert await send_without_number("again") == first
    of_bert = {"identifier": [identified(MRN, "2")], "name": [{"family": "Bert"}], "birthDate": "1990-01-01"}
    await service.load({**who, "id": first.removeprefix("Patient/"), **of_bert})
    second = await send_without_number("behind")
    assert second != first
    assert await send_without_number("at last") == second
    assert (await service.get(first)).body["name"] == of_bert["name"]
    assert (await service.get(second)).body["name"] == who["name"]


async def test_a_patient_without_number_keeps_the_one_that_somebody_gave(service: Service) -> None:
    told = {"name": [{"family": "Anna"}], "birthDate": "1980-01-01"}
    account = {"type": {"coding": [{"code": "AN"}]}, **identified("urn:example:accounts", "A")}

    async def send_without_number(code: str, **more: Json) -> None:
        who = patient("p", account, **told, **more)
        sent = message(report("r", "p", code={"text": code}), who)
        answer = await service.request("POST", "$process-message", sent)
        assert answer.status == 200, answer.text

    await send_without_number("before")
    [record] = (await service.search("identifier=urn:example:accounts|A", type="Patient")).ids
    await service.load(patient(record, identified(MRN, "1"), account, **told))
    news: Json = {"maritalStatus": {"text": "married"}}
    for code in ("behind", "again"):
        await send_without_number(code, **news)
    there = (await service.get(f"Patient/{record}")).body
    assert there["maritalStatus"] == news["maritalStatus"]
    assert [one["value"] for one in there["identifier"]] == ["1", "A"]
    assert there["meta"]["versionId"] == "3"
    assert len((await service.search(f"patient.identifier={MRN}|1")).ids) == 3


async def test_whether_an_id_is_free_is_left_to_the_write(service: Service) -> None:
    """A look before it would cost each message that brings a new patient a call of the driver."""
    nameless = patient("p", name=[{"family": "Anna"}], birthDate="1980-01-01")
    with patch.object(MongoIdentities, "known", side_effect=AssertionError):
        for who in (anna(), nameless, nameless):
            sent = message(report("r", "p", code={"text": "panel"}), who)
            assert (await service.request("POST", "$process-message", sent)).status == 200


@pytest.mark.parametrize(
    "number",
    [identified(MRN, "UNKNOWN"), {**identified(MRN, "7"), "period": {"end": "2020-01-01"}}, {"value": "7"}],
    ids=["placeholder", "ended", "no system"],
)
async def test_a_record_may_have_been_given_what_is_no_evidence(service: Service, number: Json) -> None:
    told = {"name": [{"family": "Anna"}], "birthDate": "1980-01-01"}
    found = set()
    for code in ("before", "behind", "again"):
        sent = message(report("r", "p", code={"text": code}), patient("p", **told))
        answer = await service.request("POST", "$process-message", sent)
        assert answer.status == 200, answer.text
        [there] = [
            said["response"]["location"].split("/")[-3]
            for said in answer.body["entry"]
            if "/DiagnosticReport/" in said["response"].get("location", "")
        ]
        subject = (await service.get(f"DiagnosticReport/{there}")).body["subject"]["reference"]
        found.add(subject)
        await service.load(patient(subject.removeprefix("Patient/"), number, **told))
    assert len(found) == 1
