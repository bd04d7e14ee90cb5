"""Made-up messages of HL7 v2, and how a service takes them over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

PID = "PID|1||P-1^^^HOSP^MR||MADEUP^ANNA||19700101|F"


def fields(name: str, **told: str) -> str:
    """A segment of some fields: `fields("OBR", f3="F-1")`."""
    numbers = {int(key[1:]): value for key, value in told.items()}
    return "|".join([name, *(numbers.get(n, "") for n in range(1, max(numbers) + 1))])


def obr(number: str = "F-1", *, status: str = "F", code: str = "24323-8^Panel^LN", **told: str) -> str:
    rest = {"f1": "1", "f3": f"{number}^LAB", "f4": code, "f7": "20261122093000+0000", "f25": status}
    return fields("OBR", **(rest | told))


def obx(code: str, value: str, *, kind: str = "NM", status: str = "F", **told: str) -> str:
    return fields("OBX", **({"f2": kind, "f3": code, "f5": value, "f11": status} | told))


def message(
    *segments: str,
    event: str = "ORU^R01",
    number: str = "M-1",
    time: str = "20261122103000+0000",
    msh: str = "",
) -> bytes:
    head = f"MSH|^~\\&|LAB|HOSP|DOD|CITY|{time}||{event}|{number}|P|2.5.1{msh}"
    return "\r".join([head, *segments, ""]).encode()


async def send(service: Service, body: bytes, *, code: str = "AA") -> Answer:
    """The answer to a message, whose acknowledgment has this code."""
    answer = await service.request("POST", "$hl7v2", data=body, content_type="x-application/hl7-v2+er7")
    assert f"MSA|{code}" in answer.text, answer.text
    return answer


async def one(service: Service, resource_type: str, query: str) -> Any:
    """The only resource that a search finds."""
    answer = await service.search(query, type=resource_type)
    assert len(answer.ids) == 1, answer.text
    return (await service.get(f"{resource_type}/{answer.ids[0]}")).body


async def results(service: Service, query: str = "patient.identifier=P-1") -> list[Any]:
    """The results of the only report that a search finds, in its order."""
    report = await one(service, "DiagnosticReport", query)
    return [(await service.get(entry["reference"])).body for entry in report.get("result", ())]
