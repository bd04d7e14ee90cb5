"""A result that comes by itself and with its report at one moment is one result, whoever was faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.ingest.identity.test_at_once_http import behind_plan
from tests.oracle.identity.hospital import number
from tests.support.cases import all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
NUMBER: Final = number("results", "R1")


def alone(minute: int) -> Json:
    return msg(ANN, obs("k", "Patient/1", "K", str(minute), NUMBER), minute=minute)


def reported(minute: int) -> Json:
    potassium = obs("k", "Patient/1", "K", str(minute), NUMBER)
    return msg(ANN, rep("r1", "Patient/1", fill("F"), results=["Observation/k"]), potassium, minute=minute)


MET: Final = {
    "the report is written last": (alone(1), reported(2)),
    "the report is written last, and is older": (alone(2), reported(1)),
    "the report is written first": (reported(1), alone(2)),
    "the report is written first, and is newer": (reported(2), alone(1)),
}


@pytest.mark.parametrize("name", MET)
async def test_a_result_by_itself_and_in_its_report_is_one(
    lab: Service, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, last = MET[name]
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    assert (await send(tenant, msg(ANN, minute=0))).status == 200
    behind_plan(monkeypatch, tenant, first, lambda: None)
    assert (await send(tenant, last)).status == 200
    await is_one(tenant)
    before = await versions(tenant)
    for n, one in enumerate((first, last)):
        assert (await send(tenant, {**one, "id": f"again-{n}"})).status == 200
    await is_one(tenant)
    assert await versions(tenant) == before


async def versions(tenant: Service) -> int:
    return len((await tenant.get("Observation/_history?_count=100")).body["entry"])


async def is_one(tenant: Service) -> None:
    found = await all_of(tenant, "Observation?")
    assert [one["valueString"] for one in found] == ["2"]
    assert await lines(tenant, "") == ["CBC final of Ann: K=2"]
