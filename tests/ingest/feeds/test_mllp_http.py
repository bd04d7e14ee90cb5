"""Messages over MLLP, from the first byte to the report that a vendor app finds."""

from __future__ import annotations

import asyncio
import gzip
import re
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest

from api.http.app_keys import PRIVACY, REGISTRY
from ingest.mllp import listener
from ingest.mllp.framing import framed
from store.audit.records import AuditQuery
from tests.support.lines import logged
from tests.support.mllp import connected, errors, fed_service, msa, oru

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service

Fed = tuple["Service", int]


@pytest.fixture
async def fed(mongodb: str) -> AsyncIterator[Fed]:
    async with fed_service(mongodb) as opened:
        yield opened


async def found(service: Service, patient: str = "P-1") -> list[str]:
    answer = await service.search(f"patient.identifier={patient}")
    assert answer.status == 200, answer.text
    return answer.ids


async def test_an_accepted_message_is_found_kept_and_told_of_once(fed: Fed) -> None:
    service, port = fed
    async with connected(port) as sender:
        assert await sender.send(oru()) == ["MSA", "AA", "M-1"]
        [report] = await found(service)
        first = await service.get(f"DiagnosticReport/{report}")
        assert await sender.send(oru()) == ["MSA", "AA", "M-1"]
        assert await sender.send(oru("M-2")) == ["MSA", "AA", "M-2"]
        assert await found(service) == [report]
        assert (await service.get(f"DiagnosticReport/{report}")).headers["ETag"] == first.headers["ETag"]
        assert await sender.send(oru("M-3", value="5.5", time="20261122113000")) == ["MSA", "AA", "M-3"]
    kept = await service.search(f"target=DiagnosticReport/{report}&_sort=recorded", type="Provenance")
    messages = []
    for entry in kept.matches:
        what = entry["resource"]["entity"][0]["what"]
        binary = await service.get(what["reference"], accept="application/fhir+json")
        assert binary.body["securityContext"]["reference"].startswith("Patient/")
        messages.append(gzip.decompress(b64decode(binary.body["data"])))
        assert what["identifier"]["value"].encode() in messages[-1]
    assert sorted(messages) == sorted([oru(), oru("M-2"), oru("M-3", value="5.5", time="20261122113000")])


async def test_frames_split_at_every_byte_joined_or_without_an_end_are_answered_in_order(fed: Fed) -> None:
    _, port = fed
    one, two, three = (oru(f"M-{n}", filler=f"F-{n}") for n in range(3))
    async with connected(port) as sender:
        await sender.write(*(framed(one)[n : n + 1] for n in range(len(framed(one)))))
        assert msa(await sender.answer()) == ["MSA", "AA", "M-0"]
        await sender.write(framed(one) + framed(two) + framed(three)[:50])
        await sender.write(framed(three)[50:])
        assert [msa(await sender.answer())[2] for _ in range(3)] == ["M-0", "M-1", "M-2"]
        await sender.write(b"\x0b" + one + framed(two))  # The end of the first is missing.
        assert msa(await sender.answer()) == ["MSA", "AA", "M-1"]
        await sender.write(b"\x0b" + three + b"\x1c")  # No carriage return will come.
        assert msa(await sender.answer()) == ["MSA", "AA", "M-2"]


async def test_line_ends_of_any_kind_and_the_end_of_the_sender_are_taken(fed: Fed) -> None:
    service, port = fed
    for number, end in enumerate((b"\n", b"\r\n", b"\r")):
        async with connected(port) as sender:
            message = oru(f"M-{number}", filler=f"F-{number}").replace(b"\r", end)
            await sender.write(framed(message))
            sender.writer.write_eof()
            assert msa(await sender.answer())[1] == "AA"
            assert await sender.answer() == b""
    assert len(await found(service)) == 3


async def test_a_faulty_message_is_refused_at_its_place_kept_and_replayed_once_it_is_mended(fed: Fed) -> None:
    service, port = fed
    faulty = oru(status="Z")
    async with connected(port) as sender:
        await sender.write(framed(faulty))
        answer = await sender.answer()
        assert msa(answer)[:3] == ["MSA", "AE", "M-1"]
        error = errors(answer)[0]
        assert error[2] == "OBR^1^25"
        assert error[3].startswith("103^")
        assert b"MADEUP" not in answer
        assert await sender.send(faulty) == msa(answer)
    [letter] = (await service.get("$dead-letters")).body["letters"]
    assert letter["operation"] == "hl7v2"
    assert letter["times"] == 2
    shown = await service.get(f"$dead-letters/{letter['id']}?body=true")
    assert shown.body["body"].encode() == faulty
    again = await service.request("POST", f"$dead-letters/{letter['id']}/$replay")
    assert again.body["state"] == "open"
    fixed = await service.request(
        "PUT", f"$dead-letters/{letter['id']}", data=oru(), content_type="x-application/hl7-v2+er7"
    )
    assert fixed.status == 200, fixed.text
    again = await service.request("POST", f"$dead-letters/{letter['id']}/$replay")
    assert again.body["state"] == "replayed", again.text
    assert len(await found(service)) == 1


async def test_what_is_no_message_for_this_service_is_rejected(fed: Fed) -> None:
    service, port = fed
    async with connected(port) as sender:
        await sender.write(framed(oru().replace(b"ORU^R01^ORU_R01", b"DFT^P03^DFT_P03")))
        answer = await sender.answer()
        assert msa(answer)[:3] == ["MSA", "AR", "M-1"]
        assert errors(answer)[0][2].startswith("MSH^1^9")
        await sender.write(framed(b"no message at all"))
        assert msa(await sender.answer())[1] in ("AR", "AE")
        await sender.write(framed(oru().replace(b"ORU^R01^ORU_R01", b"ACK^R01^ACK")))  # Never answered.
        await sender.write(framed(oru("M-9")))
        assert msa(await sender.answer()) == ["MSA", "AA", "M-9"]
    async with connected(port) as sender:
        await sender.write(oru())
        sender.writer.write_eof()
        answer = await sender.answer()
        assert msa(answer)[1:3] == ["AR", "M-1"]
        assert b"0x0B" in answer
    assert len(await found(service)) == 1


async def test_much_that_is_no_message_is_counted_told_once_and_slowed_down(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, port = fed
    pauses: list[int] = []

    async def rest(_: object, idle_frames: int) -> None:
        pauses.append(idle_frames)

    monkeypatch.setattr(listener._Connection, "_rest", rest)
    async with connected(port) as sender:
        with logged() as lines:
            await sender.write(b"\x0b\x1c\r" * 3_000 + b"x\x0b\x1c\r" * 500 + framed(oru()))
            assert msa(await sender.answer()) == ["MSA", "AA", "M-1"]
            assert await sender.send(oru("M-2")) == ["MSA", "AA", "M-2"]
    told = [line for line in lines.parsed if line["message"] == "no message"]
    assert [(line["reason"], line["listener"]) for line in told] == [("unframed", "mllp")]
    name, labels = "dod_mllp_refused_total", {"listener": "mllp", "reason": "unframed"}
    assert service._app[REGISTRY].get_sample_value(name, labels) == 500
    assert sum(pauses) == 4_000
    assert listener.IDLE_FRAMES < 100


async def test_a_batch_in_one_frame_is_answered_by_one_batch(fed: Fed) -> None:
    service, port = fed
    messages = b"".join(oru(f"M-{n}", filler=f"F-{n}") for n in range(3))
    async with connected(port) as sender:
        await sender.write(framed(b"BHS|^~\\&|LAB||||||||B-1\r" + messages + b"BTS|3\r"))
        lines = (await sender.answer()).split(b"\r")
    assert lines[0].endswith(b"|B-1")
    assert [line for line in lines if line.startswith(b"MSA")] == [b"MSA|AA|M-%d" % n for n in range(3)]
    assert len(await found(service)) == 3


async def test_patients_of_one_message_are_kept_apart(fed: Fed) -> None:
    service, port = fed
    one, two = oru(patient="P-1", filler="F-1"), oru(patient="P-2", filler="F-2", status="Z")
    both = one + b"\r".join(two.split(b"\r")[1:])
    async with connected(port) as sender:
        await sender.write(framed(both))
        answer = await sender.answer()
    assert msa(answer)[1] == "AE"
    assert errors(answer)[0][2] == "OBR^2^25"
    assert len(await found(service, "P-1")) == 1
    assert await found(service, "P-2") == []
    [letter] = (await service.get("$dead-letters")).body["letters"]
    body = (await service.get(f"$dead-letters/{letter['id']}?body=true")).body["body"]
    assert "P-2" in body
    assert "P-1" not in body


async def test_a_connection_is_counted_and_messages_by_source_event_and_answer(fed: Fed) -> None:
    service, port = fed
    async with connected(port) as sender:
        await sender.send(oru())
        await sender.send(oru())
        await sender.send(oru(msh="x").replace(b"ORU^R01^", b"ZZZ^Z99^"))
        text = await metrics(service)
    assert 'dod_hl7v2_messages_total{ack="AA",event="ORU^R01",source="mllp"} 1.0' in text
    assert 'dod_hl7v2_messages_total{ack="again",event="ORU^R01",source="mllp"} 1.0' in text
    assert 'dod_hl7v2_messages_total{ack="AR",event="other",source="mllp"} 1.0' in text
    assert 'dod_mllp_connections{listener="mllp"} 1.0' in text
    assert 'dod_hl7v2_ack_seconds_count{source="mllp"} 3.0' in text
    [last] = re.findall(r'dod_hl7v2_last_message_timestamp_seconds{source="mllp"} (\S+)', text)
    assert float(last) == service.clock().timestamp()


async def metrics(service: Service) -> str:
    assert service.client.app is not None
    return generate_latest(service.client.app[REGISTRY]).decode()


async def test_each_message_is_on_record_with_its_source_and_patient(fed: Fed) -> None:
    service, port = fed
    async with connected(port) as sender:
        await sender.send(oru())
        await sender.send(oru("M-2", status="Z"))
    assert service.client.app is not None
    trail = service.client.app[PRIVACY].audit
    found = (await trail.find(AuditQuery(service.tenant, most=100))).records
    told = sorted((one.did, one.by, one.address, one.status, len(one.patients)) for one in found)
    assert told == [("hl7v2", "mllp", "127.0.0.1", 0, 1), ("hl7v2", "mllp", "127.0.0.1", 422, 0)]


async def test_a_sender_that_is_slow_or_silent_is_let_go_and_harms_nobody(mongodb: str) -> None:
    limits = {"mllp_stall_seconds": 0.2, "mllp_idle_seconds": 0.4, "mllp_message_seconds": 0.6}
    async with fed_service(mongodb, **limits) as (_, port), connected(port) as slow, connected(port) as idle:
        await slow.write(framed(oru())[:40])
        async with connected(port) as other:
            assert await other.send(oru()) == ["MSA", "AA", "M-1"]
        assert await slow.answer() == b""
        assert await idle.answer() == b""


async def test_the_longest_idle_connection_gives_way(mongodb: str) -> None:
    async with fed_service(mongodb, mllp_connections_max=2) as (_, port), connected(port) as first:
        assert (await first.send(oru()))[1] == "AA"
        async with connected(port) as second, connected(port) as third:
            assert (await second.send(oru()))[1] == "AA"
            assert (await third.send(oru()))[1] == "AA"
            assert await first.answer() == b""


async def test_half_a_message_gives_way_where_nobody_is_idle(mongodb: str) -> None:
    async with fed_service(mongodb, mllp_connections_max=1) as (_, port), connected(port) as half:
        await half.write(framed(oru())[:40])
        async with connected(port) as other:
            assert await other.send(oru()) == ["MSA", "AA", "M-1"]
        assert await half.answer() == b""


async def test_a_message_too_long_is_rejected_and_the_next_one_taken(mongodb: str) -> None:
    async with fed_service(mongodb, mllp_message_bytes_max=1_000) as (_, port), connected(port) as sender:
        long = oru() + b"NTE|1||" + b"x" * 2_000
        await sender.write(framed(long))
        answer = await sender.answer()
        assert msa(answer)[1:3] == ["AR", "M-1"]
        assert b"MLLP_MESSAGE_BYTES_MAX" in answer
        assert await sender.send(oru("M-2")) == ["MSA", "AA", "M-2"]


async def test_a_batch_of_too_many_messages_is_rejected_and_the_next_one_taken(mongodb: str) -> None:
    async with fed_service(mongodb, bundle_entries_max=10) as (_, port), connected(port) as sender:
        await sender.write(framed(oru() * 20))
        answer = await sender.answer()
        assert msa(answer)[1:3] == ["AR", "M-1"]
        assert b"BUNDLE_ENTRIES_MAX" in answer
        assert await sender.send(oru("M-2")) == ["MSA", "AA", "M-2"]


async def test_five_hundred_idle_connections_let_others_work(fed: Fed) -> None:
    _, port = fed
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(500)]
    try:
        async with connected(port) as sender:
            assert await sender.send(oru()) == ["MSA", "AA", "M-1"]
    finally:
        for _, writer in idle:
            writer.close()
