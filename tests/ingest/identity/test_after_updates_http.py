"""Messages about resources that a client has updated or patched by their ids find them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.hospital import number
from tests.support.cases import all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.service import Service

    Change = Callable[[Service, "Json", "Json"], Awaitable[None]]

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
UNNAMED: Final[Json] = {"value": "7"}
"""A number without a system: of its source alone."""


async def sent(lab: Service, message: Json) -> None:
    answer = await send(lab, message)
    assert answer.status == 200, answer.text


async def put(lab: Service, stored: Json, more: Json) -> None:
    await lab.load({**stored, **more})


async def patch(lab: Service, stored: Json, more: Json) -> None:
    operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in more.items()]
    path = f"{stored['resourceType']}/{stored['id']}"
    content_type = "application/json-patch+json"
    answer = await lab.request("PATCH", path, data=json.dumps(operations), content_type=content_type)
    assert answer.status == 200, answer.text


CHANGES: Final = (put, patch)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("numbers", [({**UNNAMED, "type": fill("F")["type"]},), (fill("F"),), ()])
async def test_a_report_is_one_still(lab: Service, change: Change, numbers: tuple[Json, ...]) -> None:
    await sent(lab, msg(ANN, rep("r1", "Patient/1", *numbers, status="preliminary"), minute=1))
    [stored] = await all_of(lab, "DiagnosticReport?")
    await change(lab, stored, {"conclusion": "seen"})
    await sent(lab, msg(ANN, rep("r1", "Patient/1", *numbers), minute=5))
    assert await lines(lab, "") == ["CBC final of Ann"]


@pytest.mark.parametrize("change", CHANGES)
async def test_reports_that_their_ids_alone_tell_apart_stay_apart(lab: Service, change: Change) -> None:
    def both(minute: int) -> Json:
        names = ("r1", "r2")
        reports = [rep(one, "Patient/1", fill("F"), results=[f"Observation/{one}"]) for one in names]
        results = [obs(one, "Patient/1", "K", f"{one} {minute}") for one in names]
        return msg(ANN, *reports, *results, minute=minute)

    await sent(lab, both(1))
    for stored in await all_of(lab, "DiagnosticReport?"):
        await change(lab, stored, {"conclusion": "seen"})
    await sent(lab, both(5))
    assert await lines(lab, "") == ["CBC final of Ann: K=r1 5", "CBC final of Ann: K=r2 5"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_patient_is_one_still_and_the_source_takes_back_what_it_gave(
    lab: Service, change: Change
) -> None:
    wrong, right = number("ss", "8", "SS"), number("ss", "9", "SS")
    for minute, one in ((1, wrong), (5, right)):
        await sent(
            lab,
            msg(pat("1", mr("A"), UNNAMED, one), rep("r1", "Patient/1", fill(f"F{minute}")), minute=minute),
        )
        for stored in await all_of(lab, "Patient?"):
            await change(lab, stored, {"active": True})
    assert [await lines(lab, asked) for asked in ("ss|9", "ss|8")] == [["CBC final of Ann"] * 2, []]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_result_is_one_still(lab: Service, change: Change) -> None:
    result = obs("k", "Patient/1", "K", "5", UNNAMED)
    await sent(lab, msg(ANN, rep("r1", "Patient/1", fill("F"), results=["Observation/k"]), result, minute=1))
    [stored] = await all_of(lab, "Observation?")
    await change(lab, stored, {"note": [{"text": "seen"}]})
    await sent(lab, msg(ANN, {**result, "valueString": "6"}, minute=5))
    assert await lines(lab, "") == ["CBC final of Ann: K=6"]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_given_to_somebody_else_is_theirs(lab: Service, change: Change) -> None:
    bare = {**UNNAMED, "type": fill("F")["type"]}
    bob = pat("bob", mr("B"), name="Bob", born="1960-02-02")
    await lab.load(bob)
    await sent(lab, msg(ANN, rep("r1", "Patient/1", bare), minute=1))
    [stored] = await all_of(lab, "DiagnosticReport?")
    await change(lab, stored, {"subject": {"reference": "Patient/bob"}})
    await sent(lab, msg(ANN, rep("r1", "Patient/1", bare, conclusion="newer"), minute=5))
    assert await lines(lab, "") == ["CBC final of Ann", "CBC final of Bob"]


@pytest.mark.parametrize("status", ["final", "corrected"])
async def test_a_report_that_was_put_keeps_the_result_that_was_put(lab: Service, status: str) -> None:
    """Numbers of results are unique within a report only."""
    numbered = number("lines", "1")
    await lab.load(
        {**ANN, "id": "ann"},
        obs("k", "Patient/ann", "K", "6.9", numbered),
        rep("mine", "Patient/ann", fill("F1"), results=["Observation/k"]),
    )
    other = rep("r2", "Patient/1", fill("F2"), results=["Observation/o"], status=status)
    for minute in (2, 3):
        result = obs("o", "Patient/1", "K", f"3.{minute}", numbered)
        await sent(lab, msg(ANN, other, result, minute=minute))
        told = ["CBC final of Ann: K=6.9", f"CBC {status} of Ann: K=3.{minute}"]
        assert await lines(lab, "mr|A") == sorted(told)
    mine = rep("r1", "Patient/1", fill("F1"), results=["Observation/o"], status="amended")
    await sent(lab, msg(ANN, mine, obs("o", "Patient/1", "K", "7.0", numbered), minute=4))
    assert await lines(lab, "mr|A") == sorted(["CBC amended of Ann: K=7.0", told[1]])
    assert len(await all_of(lab, "Observation?_count=9")) == 2
