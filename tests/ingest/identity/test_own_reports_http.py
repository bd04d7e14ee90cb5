"""A correction is of its patient's own report, where she has one: another's moves only where she has none."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.ingest.identity.test_at_once_http import behind_plan
from tests.support.cases import fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02", gender="male")
CARL: Final = pat("1", mr("C"), name="Carl", born="1990-09-09", gender="male")
MINUTE: Final = "2026-01-01T08:00:00Z"


def told(minute: int, patient: Json, status: str = "final", *, id: str = "r1", **more: Any) -> Json:
    """A report of one number, code and moment, whoever it is about."""
    timed = {"effectiveDateTime": MINUTE, "results": ["Observation/k"], "status": status, **more}
    report = rep(id, "Patient/1", fill("F"), **timed)
    return msg(patient, report, obs("k", "Patient/1", "K", str(minute)), minute=minute)


FOUND: Final = {
    "a correction of hers": (
        (told(1, ANN), told(2, BOB), told(5, ANN, "corrected")),
        ["CBC corrected of Ann: K=5", "CBC final of Bob: K=2"],
    ),
    "a correction of each": (
        (told(1, ANN), told(2, BOB), told(5, ANN, "corrected"), told(6, BOB, "amended")),
        ["CBC amended of Bob: K=6", "CBC corrected of Ann: K=5"],
    ),
    "a correction, and she is final once more": (
        (told(1, ANN), told(2, BOB), told(5, ANN, "corrected"), told(7, ANN)),
        ["CBC final of Ann: K=7", "CBC final of Bob: K=2"],
    ),
    "the other's is cancelled": (
        (told(1, ANN), told(2, BOB), told(5, BOB, "cancelled")),
        ["CBC cancelled of Bob: K=5", "CBC final of Ann: K=1"],
    ),
    "under other ids": (
        (told(1, ANN), told(2, BOB, id="r2"), told(5, ANN, "corrected", id="r3")),
        ["CBC corrected of Ann: K=5", "CBC final of Bob: K=2"],
    ),
    "of two others' nobody knows which was meant": (
        (told(1, BOB), told(2, CARL), told(5, ANN, "corrected")),
        ["CBC corrected of Ann: K=5", "CBC final of Bob: K=1", "CBC final of Carl: K=2"],
    ),
    "of two others' nobody knows which was meant, and she is corrected once more": (
        (told(1, BOB), told(2, CARL), told(5, ANN, "corrected"), told(6, ANN, "amended")),
        ["CBC amended of Ann: K=6", "CBC final of Bob: K=1", "CBC final of Carl: K=2"],
    ),
    "of two others' it is the one of her id": (
        (told(1, BOB, id="r2"), told(2, CARL, id="r3"), told(5, ANN, "corrected", id="r2")),
        ["CBC corrected of Ann: K=5", "CBC final of Carl: K=2"],
    ),
}


@pytest.mark.parametrize("name", FOUND)
async def test_a_correction_takes_nobody_elses_report(lab: Service, name: str) -> None:
    sent, found = FOUND[name]
    await holds(lab, (*sent, *sent), found)


@pytest.mark.parametrize("name", list(FOUND)[:5])
async def test_whatever_comes_first(lab: Service, name: str) -> None:
    """News between a patient's own report and its correction are no version of it."""
    sent, found = FOUND[name]
    for order in permutations(sent):
        if all(order.index(first) < order.index(later) for first, later in own_of(sent)):
            await holds(lab, order, found)


def own_of(sent: Sequence[Json]) -> list[tuple[Json, Json]]:
    """Messages of one patient, each with those behind it."""
    return [
        (first, later)
        for n, first in enumerate(sent)
        for later in sent[n + 1 :]
        if first["entry"][1]["resource"] == later["entry"][1]["resource"]
    ]


MEANWHILE: Final = {
    "hers was there before its correction, as news of it are written": (
        told(5, ANN, "corrected"),
        told(1, ANN),
        told(7, ANN),
    ),
    "hers was there before its correction, which makes it first": (told(1, ANN), told(7, ANN, "corrected")),
    "hers was there before its correction, and comes late": (told(7, ANN, "corrected"), told(1, ANN)),
    "hers was corrected before it was corrected again": (
        told(1, ANN, "corrected"),
        told(7, ANN, "corrected"),
    ),
}


@pytest.mark.parametrize("name", MEANWHILE)
async def test_what_comes_as_others_are_written_is_known_as_the_first(
    lab: Service, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """News of another patient, after hers and before the correction, are another report's."""
    *before, between, last = MEANWHILE[name]
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    for one in before:
        assert (await send(tenant, one)).status == 200
    behind_plan(monkeypatch, tenant, between, lambda: None)
    assert (await send(tenant, last)).status == 200
    assert (await send(tenant, told(3, BOB))).status == 200
    assert "CBC final of Bob: K=3" in await lines(tenant, "")


async def holds(lab: Service, sent: Sequence[Json], found: Sequence[str]) -> None:
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    for n, one in enumerate(sent):
        answer = await send(tenant, {**one, "id": f"sent-{n}"})
        assert answer.status == 200, answer.text
    assert await lines(tenant, "") == found
