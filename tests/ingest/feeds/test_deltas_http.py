"""Changed results that come alone: which result of their report each one is.

OBX-3 and OBX-4 say it, or OBX-21. Where they do not, what is stored decides.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from store.tenancy import SearchScope
from tests.support.hl7v2 import PID, message, obr, obx, results, send

if TYPE_CHECKING:
    from tests.support.service import Service

K, NA = "2823-3^Potassium^LN", "2951-2^Sodium^LN"


def at(minute: int) -> str:
    return f"202611221030{minute:02}+0000"


def drawn(hour: int, minute: int = 0) -> str:
    """OBX-14."""
    return f"20261122{hour:02}{minute:02}00+0000"


def k(value: str, when: str = "", status: str = "F", **more: str) -> str:
    return obx(K, value, status=status, **({"f14": when} if when else {}), **more)


class Case(NamedTuple):
    """Results of a whole report, those that come alone then, and what is served."""

    whole: tuple[str, ...]
    alone: tuple[str, ...]
    found: tuple[str, ...]


CASES: Final = {
    "one, corrected, at another time": Case(
        (k("4", drawn(8)),), (k("5", drawn(8, 5), "C"),), ("5 corrected",)
    ),
    "one, final now, at another time": Case((k("4", drawn(8), "P"),), (k("5", drawn(8, 5)),), ("5 final",)),
    "one more of another time": Case((k("4", drawn(8)),), (k("5", drawn(9)),), ("4 final", "5 final")),
    "the second of a series, corrected": Case(
        (k("4", drawn(8)), k("5", drawn(9))), (k("6", drawn(9), "C"),), ("4 final", "6 corrected")
    ),
    "the first of a series, corrected": Case(
        (k("4", drawn(8)), k("5", drawn(9))), (k("6", drawn(8), "C"),), ("6 corrected", "5 final")
    ),
    "one more of a series": Case(
        (k("4", drawn(8)), k("5", drawn(9))), (k("6", drawn(10)),), ("4 final", "5 final", "6 final")
    ),
    "which of a series nothing tells": Case(
        (k("4", drawn(8)), k("5", drawn(9))),
        (k("6", drawn(10), "C"),),
        ("4 final", "5 final", "6 corrected"),
    ),
    "a sub-id that is left out": Case((k("4", f4="1"),), (k("5", status="C"),), ("5 corrected",)),
    "a sub-id that is new": Case((k("4"),), (k("5", status="C", f4="1"),), ("5 corrected",)),
    "a sub-id that is left out, of several": Case(
        (k("4", f4="1"), k("5", f4="2")), (k("6", status="C"),), ("4 final", "5 final", "6 corrected")
    ),
    "a sub-id that is left out, of several at other times": Case(
        (k("4", drawn(8), f4="1"), k("5", drawn(9), f4="2")),
        (k("6", drawn(9), "C"),),
        ("4 final", "6 corrected"),
    ),
    "another sub-id": Case((k("4", f4="1"),), (k("5", status="C", f4="2"),), ("4 final", "5 corrected")),
    "an instance id, at another time": Case(
        (k("4", drawn(8), f21="R-1^LAB"), k("5", drawn(9), f21="R-2^LAB")),
        (k("6", drawn(9, 5), "C", f21="R-2^LAB"),),
        ("4 final", "6 corrected"),
    ),
    "an instance id that is left out": Case(
        (k("4", drawn(8), f21="R-1^LAB"),), (k("6", drawn(8, 5), "C"),), ("6 corrected",)
    ),
    "two of a series, both corrected": Case(
        (k("4", drawn(8)), k("5", drawn(9))),
        (k("6", drawn(9), "C"), k("7", drawn(8), "C")),
        ("7 corrected", "6 corrected"),
    ),
    "one, taken back": Case(
        (k("4", drawn(8)), k("5", drawn(9))), (k("", drawn(9), "D"),), ("4 final", " entered-in-error")
    ),
    "a value that is not sent again": Case(
        (k("4", drawn(8), "P"), k("5", drawn(9), "P")),
        (k("", drawn(9), "U"),),
        ("4 preliminary", "5 final"),
    ),
}


async def told(service: Service) -> tuple[str, ...]:
    found: list[Any] = [one for one in await results(service, "code=24323-8") if "2823-3" in str(one["code"])]
    return tuple(f"{one.get('valueQuantity', {}).get('value', '')} {one['status']}" for one in found)


@pytest.mark.parametrize("name", CASES)
async def test_a_changed_result_finds_its_own(service: Service, name: str) -> None:
    case = CASES[name]
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    await send(tenant, message(PID, obr(), obx(NA, "140"), *case.whole, time=at(1)))
    for minute in (2, 3):  # Sent again it changes nothing.
        alone = message(PID, obr(status="C", f55="U"), *case.alone, number=f"M-{minute}", time=at(minute))
        await send(tenant, alone)
        assert await told(tenant) == case.found
    assert len((await tenant.search("code=2823-3", type="Observation")).ids) == len(case.found)
    assert len(await results(tenant, "code=24323-8")) == len(case.found) + 1


async def test_a_changed_result_under_the_number_of_the_survivor(service: Service) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    survivor = PID.replace("P-1", "P-2")
    await send(tenant, message(PID, obr(), obx(NA, "140"), k("4", drawn(8)), k("5", drawn(9)), time=at(1)))
    merge = message(survivor, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-2", time=at(2))
    await send(tenant, merge)
    alone = message(survivor, obr(status="C", f55="U"), k("6", drawn(9), "C"), number="M-3", time=at(3))
    await send(tenant, alone)
    assert await told(tenant) == ("4 final", "6 corrected")
    assert len((await tenant.search("code=2823-3", type="Observation")).ids) == 2


async def test_changed_results_of_two_connections_at_once(service: Service) -> None:
    """Each corrects one of a series that nothing but its time tells apart."""
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    hours = range(8, 14)
    await send(
        tenant, message(PID, obr(), obx(NA, "140"), *(k("4", drawn(one)) for one in hours), time=at(1))
    )
    await asyncio.gather(
        *(
            send(
                tenant,
                message(PID, obr(f55="U"), k(f"{one}", drawn(one), "C"), number=f"M-{one}", time=at(2)),
            )
            for one in hours
        )
    )
    assert await told(tenant) == tuple(f"{one} corrected" for one in hours)
    assert len((await tenant.search("code=2823-3", type="Observation")).ids) == len(hours)
