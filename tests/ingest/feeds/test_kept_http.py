"""The message itself: found from its report, for as long as that is there, and erased with its patient."""

from __future__ import annotations

import gzip
import random
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import AsyncMock

import pytest

from api.http.app_keys import DOORKEEPER, PRIVACY
from ingest.mllp.framing import framed
from store.retention.policy import Policy, Rule
from tests.support.mllp import Sender, connected, fed_service, msa, oru

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service

LONG = 1_000
SHORT = 10


class Fed(NamedTuple):
    service: Service
    sender: Sender


@pytest.fixture
async def fed(mongodb: str) -> AsyncIterator[Fed]:
    async with fed_service(mongodb) as (service, port), connected(port) as sender:
        yield Fed(service, sender)


async def records(service: Service, report: str) -> list[str]:
    """`Type/id` of what is kept of a report's messages."""
    found = await service.search(f"target=DiagnosticReport/{report}", type="Provenance")
    named = [entry["resource"] for entry in found.matches]
    return [f"Provenance/{one['id']}" for one in named] + [
        one["entity"][0]["what"]["reference"] for one in named
    ]


async def statuses(service: Service, keys: list[str]) -> set[int]:
    return {(await service.get(one, accept="application/fhir+json")).status for one in keys}


async def report_of(service: Service, number: str = "P-1") -> str:
    [report] = (await service.search(f"patient.identifier={number}")).ids
    return report


async def test_a_message_ends_with_the_report_that_it_made_whatever_the_policy_says_of_its_own_type(
    fed: Fed, few_places: None
) -> None:
    service, sender = fed
    assert (await sender.send(oru()))[1] == "AA"
    await service.keeps(Policy(keep_days=LONG, rules=(Rule(SHORT, type="DiagnosticReport"),)))
    assert (await sender.send(oru("M-2", filler="F-2", patient="P-2")))[1] == "AA"
    report = await report_of(service, "P-2")
    kept = await records(service, report)
    assert len(kept) == 2
    service.clock.move(days=SHORT - 1)
    assert await statuses(service, kept) == {200}
    service.clock.move(days=2)
    assert await statuses(service, [*kept, f"DiagnosticReport/{report}"]) == {404}


async def test_a_message_of_a_patient_who_is_erased_goes_and_does_not_come_again(fed: Fed) -> None:
    service, sender = fed
    await sender.send(oru())
    await sender.send(oru("M-2", filler="F-2", patient="P-2", name="OTHER^BERT"))
    await sender.send(oru("M-3", status="Z"))  # A dead letter.
    [letter] = (await service.get("$dead-letters")).body["letters"]
    kept = await records(service, await report_of(service))
    others = await records(service, await report_of(service, "P-2"))
    [patient] = (await service.search("identifier=P-1", type="Patient")).ids
    body = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": "asked for"}]}
    answer = await service.request("POST", f"Patient/{patient}/$purge", body)
    assert answer.status == 200, answer.text
    assert await statuses(service, kept) <= {404, 410}
    assert await statuses(service, others) == {200}
    assert (await service.get(f"$dead-letters/{letter['id']}")).status == 404
    await sender.write(framed(oru()))
    again = await sender.answer()
    assert msa(again)[1] == "AR"
    assert b"erased" in again
    assert (await sender.send(oru("M-4", status="Z")))[1] == "AE"  # Nobody gets as far as the patient.
    assert (await sender.send(oru("M-5", status="Z").replace(b"PID|1||P-1^^^HOSP^MR|", b"PID|1||X~P-1|")))[
        1
    ] == "AE"
    assert (await service.get("$dead-letters")).body["letters"] == []
    assert (await sender.send(oru("M-6", patient="P-2", status="Z")))[1] == "AE"
    assert len((await service.get("$dead-letters")).body["letters"]) == 1


async def test_the_sender_of_a_tenant_that_has_left_is_told_so_and_nothing_of_an_erasure(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, sender = fed
    app = service.client.app
    assert app is not None
    settings = await app[DOORKEEPER].tenant(service.tenant)
    await app[PRIVACY].offboarding.close(service.tenant, reason="asked", by="tests", wait_seconds=0)
    monkeypatch.setattr(app[DOORKEEPER], "tenant", AsyncMock(return_value=settings))  # Let in before.
    await sender.write(framed(oru()))
    answer = await sender.answer()
    assert msa(answer)[1] == "AR"
    assert b"tenant was closed" in answer
    assert b"erased" not in answer


async def test_a_message_that_comes_again_is_done_where_its_report_was_deleted(fed: Fed) -> None:
    service, sender = fed
    await sender.send(oru())
    report = await report_of(service)
    assert (await service.request("DELETE", f"DiagnosticReport/{report}")).status == 204
    assert (await sender.send(oru()))[1] == "AA"
    back = await service.get(f"DiagnosticReport/{report}")
    assert back.status == 200, back.text
    assert (await sender.send(oru()))[1] == "AA"
    assert (await service.get(f"DiagnosticReport/{report}")).headers["ETag"] == back.headers["ETag"]


@pytest.mark.parametrize(
    "target",
    [
        {"display": "somebody's report"},
        {"reference": "https://other.example/fhir/DiagnosticReport/r1"},
        {"identifier": {"system": "urn:made-up", "value": "7"}},
        {"reference": "#part"},
    ],
    ids=["a display alone", "another server's", "a number", "a part"],
)
async def test_whatever_a_client_puts_in_the_record_of_a_message_it_may_come_again(
    fed: Fed, target: dict[str, object]
) -> None:
    service, sender = fed
    await sender.send(oru())
    record, _ = await records(service, await report_of(service))
    changed = {**(await service.get(record)).body, "target": [target]}
    if "#" in str(target):
        changed["contained"] = [{"resourceType": "Basic", "id": "part", "code": {"text": "x"}}]
    answer = await service.request("PUT", record, changed)
    assert answer.status == 200, answer.text
    assert (await sender.send(oru()))[1] == "AA"


async def test_an_older_message_that_comes_again_leaves_the_newer_one(fed: Fed) -> None:
    service, sender = fed
    await sender.send(oru("M-1", value="4.1", time="20260101120000"))
    await sender.send(oru("M-2", value="4.7", time="20260102120000"))
    report = await report_of(service)
    before = await service.get(f"DiagnosticReport/{report}")
    await sender.send(oru("M-1", value="4.1", time="20260101120000"))
    assert (await service.get(f"DiagnosticReport/{report}")).text == before.text
    [result] = (await service.search("patient.identifier=P-1", type="Observation")).matches
    assert result["resource"]["valueQuantity"]["value"] == 4.7


async def test_a_message_with_a_large_document_is_kept_as_a_file(fed: Fed) -> None:
    service, sender = fed
    data = b64encode(random.Random(7).randbytes(300_000)).decode()
    message = oru() + f"OBX|2|ED|PDF^Report^L||^application^pdf^Base64^{data}||||||F\r".encode()
    assert (await sender.send(message))[1] == "AA"
    assert (await sender.send(message))[1] == "AA"
    kept = await records(service, await report_of(service))
    binary = await service.get(kept[1], accept="application/fhir+json")
    assert gzip.decompress(b64decode(binary.body["data"])) == message
