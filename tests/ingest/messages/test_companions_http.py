"""Companions of an earlier version of a report alone leave the current data, and nothing else does."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from ingest.messages import companions
from ingest.messages import execution as delivering
from store.errors import Category, ServiceError
from store.tenancy import SearchScope
from tests.support.feed import FILLERS, at, delivery, observation, said_of, send, state
from tests.support.fhir import MRN, Json, coded, identified, message, patient, refers, report, resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.resources.resource_keys import ResourceKey
    from tests.support.service import Answer, Service

AMEND = "DiagnosticReport/$diagnosticreport-amend"


@pytest.fixture
async def lab(service: Service) -> Service:
    return await service.new_tenant(search_scope=SearchScope.ANY)


def path_of(answer: Answer, entry: int) -> str:
    where = answer.body["entry"][entry]["response"]["location"].partition("/_history/")[0]
    return "/".join(where.split("/")[-2:])


async def statuses(lab: Service, *paths: str) -> list[int]:
    return [(await lab.get(path)).status for path in paths]


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["plain", "keyed"])
async def test_an_observation_that_the_amended_report_drops_leaves_and_stays_in_history(
    lab: Service, headers: dict[str, str]
) -> None:
    first = await send(lab, delivery("r", observation("a"), observation("b"), time=at(1)))
    a, b = path_of(first, 2), path_of(first, 3)
    amended = await send(lab, delivery("r", observation("b"), time=at(2)), AMEND, **headers)
    assert "1 resources that nothing current refers to" in said_of(amended)
    assert await statuses(lab, a, b, f"{a}/_history/1") == [410, 200, 200]
    assert "Observation a" not in await state(lab)
    # Another Bundle id: byte for byte it would only be given the first answer again.
    again = await send(lab, {**delivery("r", observation("b"), time=at(2)), "id": "again"}, AMEND)
    assert "nothing current refers" not in said_of(again)


async def test_members_of_a_panel_leave_with_it(lab: Service) -> None:
    panel = observation("panel", hasMember=[refers("Observation/x"), refers("Observation/y")])
    sent = delivery("r", panel, time=at(1))
    sent["entry"] += [{"resource": observation(name)} for name in "xy"]
    first = await send(lab, sent)
    amended = await send(lab, delivery("r", observation("z"), time=at(2)))
    assert "3 resources" in said_of(amended)
    assert await statuses(lab, *(path_of(first, n) for n in (2, 4, 5))) == [410, 410, 410]


def referring(kind: str) -> Any:
    """Something else of the patient that refers to the observation `a`."""
    target = refers("Observation/a")
    return {
        "report": report("other", "p", identifier=[identified("urn:f", "o")], result=[target]),
        "panel": observation("panel", hasMember=[target]),
        "derived": observation("derived", derivedFrom=[target]),
        "condition": resource(
            "Condition", "c", subject=refers("Patient/p"), code=coded("1"), evidence=[{"detail": [target]}]
        ),
    }[kind]


@pytest.mark.parametrize("kind", ["report", "panel", "derived", "condition"])
async def test_what_something_current_refers_to_stays(lab: Service, kind: str) -> None:
    first = await send(lab, delivery("r", observation("a"), time=at(1)))
    other = message(
        referring(kind),
        observation("a"),
        resource("Patient", "p", identifier=[identified("urn:example:mrn", "p")]),
    )
    assert (await send(lab, {**other, "timestamp": at(1)})).status == 200
    await send(lab, delivery("r", observation("b"), time=at(2)))
    # Another report has an observation of its own, whatever its number.
    assert await statuses(lab, path_of(first, 2)) == [410 if kind == "report" else 200]
    assert [one for one in await state(lab) if one == "Observation a"] == ["Observation a"]


async def test_a_provenance_keeps_nothing(lab: Service) -> None:
    sent = delivery("r", observation("a"), time=at(1))
    sent["entry"].append({"resource": resource("Provenance", "v", target=[refers("Observation/a")])})
    first = await send(lab, sent)
    await send(lab, delivery("r", observation("b"), time=at(2)))
    assert await statuses(lab, path_of(first, 2)) == [410]


async def test_what_was_pushed_by_itself_stays(lab: Service) -> None:
    alone = {
        **message(
            observation("a"), resource("Patient", "p", identifier=[identified("urn:example:mrn", "p")])
        ),
        "timestamp": at(1),
    }
    await send(lab, alone, "Observation/$observation-create")
    first = await send(lab, delivery("r", observation("a"), time=at(1)))
    await send(lab, delivery("r", observation("b"), time=at(2)))
    assert await statuses(lab, path_of(first, 2)) == [200]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_what_was_pushed_by_itself_stays_however_late(lab: Service, order: tuple[int, ...]) -> None:
    alone = message(
        observation("a"), resource("Patient", "p", identifier=[identified("urn:example:mrn", "p")])
    )
    sent = [
        {**alone, "timestamp": at(1)},
        delivery("r", observation("a", value="newest"), time=at(2)),
        delivery("r", time=at(3)),
    ]
    for n in order:
        await send(lab, sent[n])
    assert (await state(lab))["Observation a"]["valueString"] == "newest"


async def test_members_that_a_newer_panel_drops_leave(lab: Service) -> None:
    both, one = (
        observation("panel", hasMember=[refers(f"Observation/{name}") for name in names])
        for names in ("xy", "y")
    )
    first = await send(lab, delivery("r", both, observation("x"), observation("y"), time=at(1)))
    amended = await send(lab, delivery("r", one, observation("y"), time=at(2)))
    assert "1 resources" in said_of(amended, 2)
    assert await statuses(lab, path_of(first, 3), path_of(first, 4)) == [410, 200]


async def test_members_of_a_panel_that_comes_late_do_not_stay(lab: Service) -> None:
    panel = observation("panel", hasMember=[refers("Observation/x")])
    await send(lab, delivery("r", observation("panel"), time=at(2)))
    late = await send(lab, delivery("r", panel, observation("x"), time=at(1)))
    assert await statuses(lab, path_of(late, 2), path_of(late, 3)) == [200, 410]


async def test_a_panel_comes_back_with_its_members(lab: Service) -> None:
    panel = observation("panel", hasMember=[refers("Observation/x")])
    first = await send(lab, delivery("r", panel, observation("x"), time=at(1)))
    await send(lab, delivery("r", time=at(9)))
    assert await statuses(lab, path_of(first, 2), path_of(first, 3)) == [410, 410]
    alone = message(panel, observation("x"), patient("p", identified(MRN, "p")))
    await send(lab, {**alone, "timestamp": at(2)})
    assert await statuses(lab, path_of(first, 2), path_of(first, 3)) == [200, 200]


def together(time: str, *, other: str) -> Json:
    """The reports `r` and `other` with one observation between them, each from a time of its own."""
    made = delivery("r", observation("a"), time=time, evidence="meta")
    filler, updated = [identified(FILLERS, "other")], {"lastUpdated": other}
    told = report("other", "p", identifier=filler, result=[refers("Observation/a")], meta=updated)
    return {**made, "timestamp": at(1), "entry": [*made["entry"], {"resource": told}]}


async def left_to_one(lab: Service) -> Answer:
    """The answer to a message with both; by now only `r` refers to the observation."""
    first = await send(lab, together(at(1), other=at(1)))
    await send(lab, delivery("other", time=at(2)))
    assert await statuses(lab, path_of(first, 2)) == [200]
    return first


MOMENTS = ("unreferenced", "retire", "preceding")
"""Verbs of the store between which an amendment looks and acts."""


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["plain", "keyed"])
async def test_whoever_refers_to_it_meanwhile_keeps_it(
    lab: Service,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    headers: dict[str, str],
    *,
    behind: bool,
) -> None:
    """Another report comes to refer to an observation while an amendment lets go of it."""
    first = await left_to_one(lab)
    verb = getattr(lab.resources, moment)

    async def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        found = await verb(*given, **named) if behind else None
        await send(lab, together(at(1), other=at(6)), **headers)
        return found if behind else await verb(*given, **named)

    monkeypatch.setattr(lab.resources, moment, meanwhile)
    await send(lab, delivery("r", time=at(5)), AMEND)
    assert await statuses(lab, path_of(first, 2)) == [200]
    assert "dangling" not in str(await state(lab))


async def test_an_amendment_that_looked_before_another_report_was_stored(
    lab: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other put an observation that was unchanged, which leaves no trace: it looks behind itself."""
    first = await left_to_one(lab)
    settle = companions.settle

    async def free(_: object, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        return dict.fromkeys(keys, 1)

    async def nothing(*_: object, **__: object) -> list[Any]:
        return []

    async def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        with monkeypatch.context() as early:
            early.setattr(lab.resources, "unreferenced", free)
            early.setattr(lab.resources, "released", nothing)
            await send(lab, delivery("r", time=at(5)), AMEND)
        assert await statuses(lab, path_of(first, 2)) == [410]
        return await settle(*given, **named)

    monkeypatch.setattr(delivering, "settle", meanwhile)
    await send(lab, together(at(1), other=at(6)))
    assert await statuses(lab, path_of(first, 2)) == [200]


async def test_an_amendment_waits_for_a_transaction_that_refers_to_what_it_would_take_away(
    lab: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await left_to_one(lab)
    settle = companions.settle
    amending: list[asyncio.Task[Answer]] = []

    async def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        amending.append(asyncio.create_task(send(lab, delivery("r", time=at(5)), AMEND)))
        await asyncio.wait(amending, timeout=0.5)
        return await settle(*given, **named)

    monkeypatch.setattr(delivering, "settle", meanwhile)
    keyed = {"idempotency-key": "k"}
    assert (await send(lab, together(at(1), other=at(6)), **keyed)).status == 200
    [amended] = await asyncio.gather(*amending)
    assert amended.status == 200
    assert await statuses(lab, path_of(first, 2)) == [200]


async def test_what_a_client_put_afterwards_stays(lab: Service) -> None:
    first = await send(lab, delivery("r", observation("a"), time=at(1)))
    stored = (await lab.get(path_of(first, 2))).body
    assert (await lab.put(stored)).status == 200
    await send(lab, delivery("r", observation("b"), time=at(2)))
    assert await statuses(lab, path_of(first, 2)) == [200]


async def test_patient_order_and_specimen_stay(lab: Service) -> None:
    sent = delivery(
        "r",
        observation("a"),
        time=at(1),
        specimen=[refers("Specimen/s")],
        basedOn=[refers("ServiceRequest/q")],
    )
    sent["entry"] += [
        {"resource": resource(kind, id)} for kind, id in (("Specimen", "s"), ("ServiceRequest", "q"))
    ]
    first = await send(lab, sent)
    await send(lab, delivery("r", time=at(2)))
    assert await statuses(lab, *(path_of(first, n) for n in (2, 3, 4, 5))) == [410, 200, 200, 200]


async def test_another_tenants_report_neither_keeps_nor_loses_anything(
    lab: Service, service: Service
) -> None:
    mine = await send(lab, delivery("r", observation("a"), time=at(1)))
    theirs = await send(service, delivery("r", observation("a"), time=at(1)))
    await send(lab, delivery("r", observation("b"), time=at(2)))
    assert await statuses(lab, path_of(mine, 2)) == [410]
    assert await statuses(service, path_of(theirs, 2)) == [200]


async def test_a_clean_up_that_did_not_happen_is_made_up_for_when_the_message_comes_again(
    lab: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender of the amendment was never answered: the service died behind the write."""
    first = await send(lab, delivery("r", observation("a"), time=at(1)))
    sent = delivery("r", observation("b"), time=at(2))

    async def died(*_: object, **__: object) -> None:
        raise ServiceError(Category.UNAVAILABLE)

    with monkeypatch.context() as broken:
        broken.setattr(delivering, "settle", died)
        assert (await send(lab, sent)).status == 503
    assert await statuses(lab, path_of(first, 2)) == [200]
    again = await send(lab, sent)
    assert "no new version" in said_of(again)
    assert await statuses(lab, path_of(first, 2)) == [410]
