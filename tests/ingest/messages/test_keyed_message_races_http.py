"""A message with an `Idempotency-Key` is one transaction: who its patient is holds until it takes effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from ingest.writes import filing
from tests.support.fhir import MRN, Json, identified, message, patient, report

if TYPE_CHECKING:
    from tests.support.service import Service


def anna() -> Json:
    return patient("p", identified(MRN, "1"), name=[{"family": "Anna"}])


async def test_the_record_may_become_another_patients_meanwhile(service: Service) -> None:
    first = await service.request("POST", "$process-message", message(report("r1", "p"), anna()))
    assert first.status == 200, first.text
    [record] = (await service.search(f"identifier={MRN}|1", type="Patient")).ids
    put, changed = filing.put_each, list[bool]()

    async def meanwhile(*arguments: Any) -> Any:
        if not changed:
            changed.append(True)
            bert = patient(record, identified(MRN, "2"), name=[{"family": "Bert"}])
            await service.load(bert, patient("b", identified(MRN, "1"), name=[{"family": "Anna"}]))
        return await put(*arguments)

    sent = message(report("r2", "p", code={"text": "another"}), anna())
    with patch("ingest.messages.execution.filing.put_each", meanwhile):
        answer = await service.request("POST", "$process-message", sent, headers={"Idempotency-Key": "once"})
    assert (answer.status, changed) == (200, [True]), answer.text
    [there] = [
        said["response"]["location"]
        for said in answer.body["entry"]
        if "/DiagnosticReport/" in said["response"].get("location", "")
    ]
    stored = (await service.get(f"DiagnosticReport/{there.split('/')[-3]}")).body
    assert stored["subject"]["reference"] == "Patient/b"
    bert = (await service.get(f"Patient/{record}")).body
    assert (bert["identifier"][0]["value"], bert["name"][0]["family"]) == ("2", "Bert")
