"""Messages whose numbers are carried by more stored resources than are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from ingest.messages import planning
from tests.support.cases import all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send
from tests.support.fhir import identified

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
FEW: Final = 5
SHARED: Final = identified("urn:made-up:household", "12345")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "CANDIDATES_MAX", FEW)


def panel(minute: int, filler: str, value: str, **more: Any) -> Json:
    """A report whose results are numbered from 1 on, as those of all others."""
    results = [
        obs(f"o{n}", "Patient/1", f"C{n}", value, identified("urn:made-up:results", str(n))) for n in (1, 2)
    ]
    told = rep(
        "r1", "Patient/1", fill(filler), results=["Observation/o1", "Observation/o2"], code=filler, **more
    )
    return msg(pat("1", mr("1")), *results, told, minute=minute)


async def test_a_patient_of_many_numbered_results_stays_one(lab: Service) -> None:
    for minute in range(1, 2 * FEW):
        assert (await send(lab, panel(minute, f"F{minute}", f"{minute}"))).status == 200
    assert (await send(lab, panel(30, "F3", "30", status="corrected"))).status == 200
    assert len(await all_of(lab, "Patient?_count=50")) == 1
    wanted = {f"F{n} final of Ann: C1={n}, C2={n}" for n in range(1, 2 * FEW) if n != 3}
    assert set(await lines(lab, "mr|1")) == wanted | {"F3 corrected of Ann: C1=30, C2=30"}
    assert len(await lines(lab, "mr|1")) == 2 * FEW - 1


async def test_a_patient_of_a_number_that_many_share_stays_one(lab: Service) -> None:
    people = [{"name": f"Made up {n}", "born": f"19{n}0-01-01"} for n in range(1, 2 * FEW)]
    for turn in (0, 1, 2):
        for n, who in enumerate(people):
            sent = msg(pat("1", SHARED, **who), rep("r1", "Patient/1", fill(f"F{n}")), minute=30 * turn + n)
            assert (await send(lab, sent)).status == 200
    assert len(await all_of(lab, "Patient?_count=50")) == len(people)
    assert len(await lines(lab, "_count=50")) == len(people)
