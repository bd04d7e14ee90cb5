"""Merges of HL7 v2 as they are sent: several in one message, each event, before and behind their reports."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Final

import pytest

from store.tenancy import SearchScope
from tests.support.cases import all_of
from tests.support.hl7v2 import message, obr, obx, send

if TYPE_CHECKING:
    from tests.support.service import Service

K: Final = "2823-3^Potassium^LN"


def pid(number: str, name: str = "MADEUP^ANNA", born: str = "19700101") -> str:
    return f"PID|1||{number}^^^HOSP^MR||{name}||{born}|F"


def at(minute: int, *segments: str, event: str = "ORU^R01") -> bytes:
    return message(*segments, event=event, number=f"M-{minute}", time=f"2026112210{minute:02}00+0000")


async def found(service: Service, number: str) -> list[str]:
    """Values that a number finds, by way of reports."""
    values = []
    for one in await all_of(service, f"DiagnosticReport?patient.identifier={number}"):
        told = [(await service.get(result["reference"])).body for result in one.get("result", ())]
        values += [str(result["valueQuantity"]["value"]) for result in told]
    return sorted(values)


@pytest.mark.parametrize("event", ["ADT^A18", "ADT^A36", "ADT^A40"])
async def test_a_report_without_number_is_served_once_in_each_order(service: Service, event: str) -> None:
    bare = obr(f3="")
    sent = {
        at(1, pid("P-1"), bare, obx(K, "1")),
        at(2, pid("P-2"), bare, obx(K, "2")),
        at(3, pid("P-2"), "MRG|P-1^^^HOSP^MR", event=event),
    }
    for order in permutations(sorted(sent)):
        tenant = await service.new_tenant(search_scope=SearchScope.ANY)
        for one in (*order, *order):
            await send(tenant, one)
        for number in ("P-1", "P-2"):
            assert await found(tenant, number) == ["2"], (number, [sorted(sent).index(one) for one in order])


async def test_two_merges_of_one_message(service: Service) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    for minute, number in enumerate(("P-1", "P-2", "P-3", "P-4"), 1):
        who = pid(number) if minute < 3 else pid(number, "OTHER^EVE", "19800202")
        await send(tenant, at(minute, who, obr(f"F-{minute}"), obx(K, f"{minute}")))
    merges = (pid("P-2"), "MRG|P-1^^^HOSP^MR", pid("P-4", "OTHER^EVE", "19800202"), "MRG|P-3^^^HOSP^MR")
    await send(tenant, at(5, *merges, event="ADT^A40"))
    told = {number: await found(tenant, number) for number in ("P-1", "P-2", "P-3", "P-4")}
    assert told == {"P-1": ["1", "2"], "P-2": ["1", "2"], "P-3": ["3", "4"], "P-4": ["3", "4"]}


async def test_a_chain_of_merges_in_each_order(service: Service) -> None:
    sent = (
        at(1, pid("P-1"), obr("F-1"), obx(K, "1")),
        at(2, pid("P-2"), "MRG|P-1^^^HOSP^MR", event="ADT^A40"),
        at(3, pid("P-3"), "MRG|P-2^^^HOSP^MR", event="ADT^A40"),
        at(4, pid("P-3"), obr("F-1", status="C"), obx(K, "4")),
    )
    for order in permutations(sent):
        tenant = await service.new_tenant(search_scope=SearchScope.ANY)
        for one in order:
            await send(tenant, one)
        told = [sent.index(one) for one in order]
        assert await found(tenant, "P-3") == ["4"], told
        assert len(await all_of(tenant, "DiagnosticReport?")) == 1, told
