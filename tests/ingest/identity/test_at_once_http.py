"""Two messages about one report at the same moment come out as one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from ingest.messages import execution, linking
from ingest.messages.companions import settle
from ingest.messages.planning import Planner
from store.resources.resource_keys import ResourceKey
from store.tenancy import SearchScope
from tests.oracle.identity.hospital import moment, number
from tests.support.cases import all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.writes.push_context import PushContext
    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
SURVIVOR: Final = pat("1", mr("B"), mr("A", use="old"), name="Ann Reed")
WEAK: Final = number("x", "A", "SS")


def told(minute: int, patient: Json, *, id: str = "r1", **more: Any) -> Json:
    return msg(patient, rep(id, "Patient/1", fill("F"), **more), minute=minute)


PAIRS: Final = {
    "corrected birth date of one with a weak number": (
        told(1, pat("1", WEAK), status="preliminary"),
        told(2, pat("1", WEAK, born="1951-01-01")),
        "CBC final of Ann",
    ),
    "another code": (
        told(1, ANN),
        told(2, ANN, code="CMP", status="corrected"),
        "CMP corrected of Ann",
    ),
    "a mended mix-up": (told(1, ANN), told(2, BOB, status="corrected"), "CBC corrected of Bob"),
    "merged": (told(1, ANN), told(2, SURVIVOR), "CBC final of Ann Reed"),
    "a later version": (told(1, ANN, status="preliminary"), told(2, ANN), "CBC final of Ann"),
    "under new ids": (
        told(1, ANN, status="preliminary", effectiveDateTime="2026-01-01"),
        told(2, ANN, id="r2", effectiveDateTime="2026-01-01"),
        "CBC final of Ann",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
async def test_two_messages_at_once_are_one_after_the_other(
    replicas: tuple[Service, Service], name: str
) -> None:
    first, second, wanted = PAIRS[name]
    for _ in range(4):
        tenant = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
        other = replace(replicas[1], tenant=tenant.tenant, headers=tenant.headers)
        answers = await asyncio.gather(send(tenant, first), send(other, second))
        assert [answer.status for answer in answers] == [200, 200]
        assert await lines(tenant, "") == [wanted]


async def test_records_are_linked_by_an_update_at_the_moment_when_the_other_one_comes(
    replicas: tuple[Service, Service],
) -> None:
    """The survivor is known; it lists the retired number while the retired record arrives with its report."""
    before = msg(pat("2", mr("B"), name="Ann Reed"), minute=1)
    retired = told(2, ANN)
    merged = [
        msg(pat("2", mr("B"), mr("A", use="old"), name="Ann Reed", gender=gender), minute=3 + n)
        for n, gender in enumerate(("female", "other", "unknown", "male"))
    ]
    for _ in range(12):
        one = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
        other = replace(replicas[1], tenant=one.tenant, headers=one.headers)
        await send(one, before)
        sent = [
            send(where, sent)
            for where, sent in zip((one, other, one, other, one), (*merged, retired), strict=True)
        ]
        assert [answer.status for answer in await asyncio.gather(*sent)] == [200] * 5
        assert await lines(one, "mr|B") == ["CBC final of Ann"]


def behind_plan(
    monkeypatch: pytest.MonkeyPatch, service: Service, sent: Json, then: Callable[[], None]
) -> None:
    """Let a message come between the plan and the write of the next one; then go on."""
    plan = Planner.plan

    async def planned(planner: Planner, **named: Any) -> Any:
        done = await plan(planner, **named)
        monkeypatch.setattr(Planner, "plan", plan)
        assert (await send(service, sent)).status == 200
        then()
        return done

    monkeypatch.setattr(Planner, "plan", planned)


TWO: Final = msg(
    BOB,
    rep("r1", "Patient/1", fill("F"), code="CMP", results=["Observation/k"]),
    obs("k", "Patient/1", "K", "5"),
    rep("r9", "Patient/1", fill("F"), results=["Observation/n"]),
    obs("n", "Patient/1", "Na", "5"),
    minute=2,
)
"""Two reports of one order, of which a correction means the second by the id of the first."""
OVERTAKEN: Final = {
    "of two corrections the later one finds what its patient got from the other": (
        msg(ANN, minute=1),
        TWO,
        msg(
            ANN,
            rep("r1", "Patient/1", fill("F"), code="CMP", status="cancelled"),
            rep("r9", "Patient/1", fill("F")),
            minute=3,
        ),
        msg(
            ANN,
            rep("r2", "Patient/1", fill("F"), status="corrected"),
            rep("r9", "Patient/1", fill("F"), code="CMP"),
            minute=5,
        ),
    ),
    "a correction takes away what came as it was written": (
        told(3, ANN),
        told(2, BOB),
        told(5, ANN, status="corrected"),
    ),
    "a correction that is older than what came as it was written moves nothing": (
        told(1, ANN),
        told(5, ANN),
        told(3, BOB, status="corrected"),
    ),
    "a correction that is new takes away what came as it was written": (
        told(1, ANN, id="r3", code="CMP"),
        told(2, BOB, id="r9"),
        told(5, ANN, status="corrected", effectiveDateTime="2026-01-02"),
    ),
    "what is new is taken away by a correction that came as it was written": (
        told(1, ANN, id="r3", code="CMP"),
        told(5, ANN, status="corrected", effectiveDateTime="2026-01-02"),
        told(2, BOB, id="r9"),
    ),
    "of two that came as it was written a correction takes away the one that it means": (
        told(1, ANN, id="r3", code="BMP"),
        TWO,
        told(5, BOB, status="cancelled", effectiveDateTime="2026-01-02"),
    ),
    "two that nothing but their ids tells apart, the older one last": (
        told(1, ANN, id="r3", code="BMP"),
        told(5, ANN, id="r2"),
        told(2, ANN, status="preliminary"),
    ),
    "two that nothing but their ids tells apart, the newer one last": (
        told(1, ANN, id="r3", code="BMP"),
        told(2, ANN, status="preliminary"),
        told(5, ANN, id="r2"),
    ),
    "a report that was corrected as it was to be moved stays": (
        told(1, BOB, status="preliminary"),
        told(3, BOB, status="corrected", effectiveDateTime="2026-01-02"),
        told(5, ANN, id="r2", status="corrected", effectiveDateTime="2026-01-01"),
    ),
    "news of a result reach the report that came as they were written": (
        told(1, ANN, id="r3", code="BMP"),
        msg(
            ANN,
            rep("r1", "Patient/1", fill("F"), results=["Observation/k"]),
            obs("k", "Patient/1", "K", "4", number("results", "R1")),
            minute=3,
        ),
        msg(ANN, obs("k", "Patient/1", "K", "5", number("results", "R1")), minute=5),
    ),
}


KEY: Final = "idempotency-key"


@pytest.mark.parametrize("headers", [{}, {KEY: "1"}], ids=["", "with a key"])
@pytest.mark.parametrize("name", OVERTAKEN)
async def test_who_is_who_is_decided_again_when_somebody_was_faster(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, name: str, headers: dict[str, str]
) -> None:
    *first, between, last = msg(BOB, minute=0), *OVERTAKEN[name]
    one, other = [await replicas[0].new_tenant(search_scope=SearchScope.ANY) for _ in range(2)]
    for where, sent in ((one, (*first, between, last)), (other, first)):
        for message in sent:
            assert (await send(where, message)).status == 200
    behind_plan(monkeypatch, other, between, lambda: None)
    assert (await send(other, last, **headers)).status == 200
    assert await lines(other, "") == await lines(one, "")


async def test_who_was_decided_upon_by_another_sender_does_not_decide_again_upon_that(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both looked for what was there before either wrote; each would find that ids are places in messages."""
    one, other = [await replicas[0].new_tenant(search_scope=SearchScope.ANY) for _ in range(2)]
    first = told(4, ANN, id="r2")
    early = told(21, ANN, status="preliminary", effectiveDateTime="2026-01-01")
    panels = (
        rep("r1", "Patient/1", fill("F"), code="CMP", status="corrected"),
        rep("r9", "Patient/1", fill("F")),
    )
    late = msg(ANN, *panels, minute=29)
    for where, sent in ((one, (first, early, late)), (other, (first,))):
        for message in sent:
            assert (await send(where, message)).status == 200
    plan, plan_again = Planner.plan, Planner.plan_again
    wrote, may_look, meanwhile = asyncio.Event(), asyncio.Event(), []

    async def again(planner: Planner, *given: Any) -> Any:
        monkeypatch.setattr(Planner, "plan_again", plan_again)
        wrote.set()
        await may_look.wait()
        return await plan_again(planner, *given)

    async def planned(planner: Planner, **named: Any) -> Any:
        done = await plan(planner, **named)
        monkeypatch.setattr(Planner, "plan", plan)
        meanwhile.append(asyncio.create_task(send(other, early)))
        await wrote.wait()
        return done

    monkeypatch.setattr(Planner, "plan", planned)
    monkeypatch.setattr(Planner, "plan_again", again)
    assert (await send(other, late)).status == 200
    may_look.set()
    assert [(await answer).status for answer in meanwhile] == [200]
    assert await lines(other, "") == await lines(one, "")


@pytest.mark.parametrize("late", [True, False], ids=["late", "in order"])
@pytest.mark.parametrize("turned", [True, False], ids=["the clinic last", "the laboratory last"])
async def test_records_of_two_sources_made_at_once_keep_the_numbers_of_both(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, turned: bool, late: bool
) -> None:
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    shared = number("x", "W", "SS")
    times = (5, 1) if late else (1, 5)
    clinic = pat("1", shared, mr("A")), rep("r1", "Patient/1", fill("F"))
    laboratory = pat("1", shared, number("labs", "L")), rep("r2", "Patient/1", fill("G"), code="CMP")
    sources = [(clinic, "urn:made-up:clinic"), (laboratory, "urn:made-up:laboratory")]
    first, last = (
        msg(*contents, minute=minute, source=source)
        for (contents, source), minute in zip(sources[:: -1 if turned else 1], times, strict=True)
    )
    behind_plan(monkeypatch, service, first, lambda: None)
    assert (await send(service, last)).status == 200
    # News of either, once both are there.
    news = msg(pat("1", shared, name="Ann Birch"), minute=8, source="urn:made-up:ward")
    assert (await send(service, news)).status == 200
    for asked in ("mr|A", "x|W", "labs|L"):
        found = [line.partition(" of ")[0] for line in await lines(service, asked)]
        assert found == ["CBC final", "CMP final"], asked


async def test_a_number_that_its_source_takes_back_at_the_moment_of_anothers_news_is_gone(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    own, laboratory = number("labs", "L", "PI"), "urn:made-up:laboratory"
    for minute, numbers, source in ((1, (mr("A"), own), laboratory), (2, (mr("A"),), "urn:made-up:clinic")):
        assert (await send(service, msg(pat("1", *numbers), minute=minute, source=source))).status == 200
    behind_plan(monkeypatch, service, msg(ANN, minute=3, source=laboratory), lambda: None)
    news = msg(pat("1", mr("A"), name="Ann Reed"), minute=4, source="urn:made-up:clinic")
    assert (await send(service, news)).status == 200
    bob = pat("1", own, name="Bob", born="1960-02-02"), rep("r1", "Patient/1", fill("F"))
    assert (await send(service, msg(*bob, minute=5, source=laboratory))).status == 200
    assert await lines(service, "mr|A") == []
    assert await lines(service, "labs|L") == ["CBC final of Bob"]


async def test_a_report_that_another_sender_took_away_by_half_of_its_message_is_there_again(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look between two writes of one message may take its first report for what it corrects."""
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    plan_again = Planner.plan_again

    async def again(planner: Planner, *given: Any) -> Any:
        monkeypatch.setattr(Planner, "plan_again", plan_again)
        [mine] = await all_of(service, "DiagnosticReport?code:text=CBC")
        key = ResourceKey("DiagnosticReport", mine["id"])
        gone = await planner.ctx.store.delete(service.tenant, key, only_version=1)
        assert gone is not None
        await settle(planner.ctx, (), {}, sourced=moment(3), gone=[gone])
        assert (await send(service, told(3, ANN, id="r5", code="CMP"))).status == 200
        return await plan_again(planner, *given)

    monkeypatch.setattr(Planner, "plan_again", again)
    potassium = obs("k", "Patient/1", "K", "5")
    first = msg(ANN, rep("r1", "Patient/1", fill("F"), results=["Observation/k"]), potassium, minute=2)
    assert (await send(service, first)).status == 200
    assert await lines(service, "") == ["CBC final of Ann: K=5", "CMP final of Ann"]


async def test_the_newest_news_reaches_each_record_that_a_race_made(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older message makes a second record; another report comes to refer to it before they are linked."""
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    plan_again, late = Planner.plan_again, told(1, pat("1", WEAK, name="Ann Birch"))
    newer = msg(pat("1", WEAK, name="Ann Corrected"), minute=5)
    other = msg(pat("1", WEAK, name="Ann Birch"), rep("r2", "Patient/1", fill("G"), code="CMP"), minute=2)

    async def again(planner: Planner, *given: Any) -> Any:
        monkeypatch.setattr(Planner, "plan_again", plan_again)
        assert (await send(service, other)).status == 200
        return await plan_again(planner, *given)

    behind_plan(monkeypatch, service, newer, lambda: monkeypatch.setattr(Planner, "plan_again", again))
    assert (await send(service, late)).status == 200
    assert await lines(service, "") == ["CBC final of Ann Corrected", "CMP final of Ann Corrected"]


async def test_news_that_comes_as_records_are_linked_reach_both(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest sender looks behind its write before the link is there; who links has looked before it."""
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    link, late = linking.link, told(1, pat("1", WEAK, name="Ann Birch"))
    corrected = msg(pat("1", WEAK, name="Ann Corrected"), minute=5)
    newest = msg(pat("1", WEAK, name="Ann Birch"), rep("r2", "Patient/1", fill("G"), code="CMP"), minute=7)

    async def meanwhile(ctx: PushContext, groups: Any) -> Any:
        if groups:
            monkeypatch.setattr(execution, "link", link)
            assert (await send(service, newest)).status == 200
        return await link(ctx, groups)

    behind_plan(monkeypatch, service, corrected, lambda: monkeypatch.setattr(execution, "link", meanwhile))
    assert (await send(service, late)).status == 200
    names = [one["name"][0]["text"] for one in await all_of(service, "Patient?")]
    assert names == ["Ann Birch"] * 2
    assert await lines(service, "") == ["CBC final of Ann Birch", "CMP final of Ann Birch"]
