"""Searches that are under way together: they share connections and look-ups, and nothing of their answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.search.chains import TOGETHER_MAX
from store.search.planning.joins import FEW
from tests.support.fhir import identified, patient, refers, report, resource
from tests.support.store import LAB, OTHER, asked, found, ids, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.tenancy import Tenant

PEOPLE = 12


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


async def fill(store: MongoResources, tenant: Tenant, *, apart: str) -> None:
    """Everybody has a number of one system, shares one of another with the next, and has two reports."""
    for n in range(PEOPLE):
        shared = identified("urn:shared", str(n // 2))
        await put(store, patient(f"p{n}", identified("urn:mrn", str(n)), shared), tenant=tenant)
        await put(store, *(report(f"{apart}{n}-{m}", f"p{n}") for m in (0, 1)), tenant=tenant)
    group = resource("Group", "g", actual=True, identifier=[identified("urn:mrn", "0")])
    await put(store, group, report(f"{apart}group", None, subject=refers("Group/g")), tenant=tenant)


def of(apart: str, *people: int) -> list[str]:
    return sorted(f"{apart}{n}-{m}" for n in people for m in (0, 1))


async def test_each_search_of_a_turn_follows_its_own_chain(store: MongoResources) -> None:
    wanted: list[tuple[Tenant, str, list[str]]] = []
    for tenant, apart in ((LAB, "a"), (OTHER, "b")):
        await fill(store, tenant, apart=apart)
        for n in range(PEOPLE):
            pair = (n // 2 * 2, n // 2 * 2 + 1)
            wanted += [
                (tenant, f"patient.identifier=urn:mrn|{n}", of(apart, n)),
                (tenant, f"patient.identifier=urn:shared|{n // 2}", of(apart, *pair)),
                (tenant, f"patient.identifier=urn:other|{n}", []),
                (tenant, f"patient=p{n}", of(apart, n)),
                (tenant, f"patient.identifier=urn:mrn|{n}&status=registered", []),
                (tenant, f"subject:Patient.identifier=urn:mrn|{n},urn:mrn|none", of(apart, n)),
            ]
        wanted += [
            (tenant, "subject.identifier=urn:mrn|0", [*of(apart, 0), f"{apart}group"]),
            (tenant, "subject:Group.identifier=urn:mrn|0", [f"{apart}group"]),
            # A value of several people, told apart by the system.
            (tenant, "patient.identifier=0", of(apart, 0, 1)),
            (tenant, "patient.identifier=|0", []),
        ]
    answers = await asyncio.gather(*(found(store, text, tenant=tenant) for tenant, text, _ in wanted))
    for (tenant, text, expected), answer in zip(wanted, answers, strict=True):
        assert sorted(answer) == expected, (tenant, text)


@pytest.mark.parametrize("many", [FEW, FEW + 1, TOGETHER_MAX + 1])
async def test_chains_that_lead_to_many_are_right_too(store: MongoResources, many: int) -> None:
    await put(store, *(patient(f"p{n}", identified("urn:x", "same")) for n in range(many)))
    await put(store, *(report(f"r{n}", f"p{n}") for n in range(many)))
    await put(store, patient("alone", identified("urn:x", "own")), report("own", "alone"))
    texts = ["patient.identifier=urn:x|same", "patient.identifier=urn:x|own"] * 4
    answers = await asyncio.gather(*(found(store, text) for text in texts))
    everybody = sorted(f"r{n}" for n in range(many))
    assert [sorted(answer) for answer in answers] == [everybody, ["own"]] * 4


@pytest.mark.parametrize("many", [FEW, FEW + 1])
async def test_chains_that_name_many_are_right_too(store: MongoResources, many: int) -> None:
    await put(store, *(patient(f"p{n}", identified("urn:x", str(n))) for n in range(many)))
    await put(store, *(report(f"r{n}", f"p{n}") for n in range(many)))
    named = ",".join(f"urn:x|{n}" for n in range(many))
    assert sorted(await found(store, f"patient.identifier={named}")) == sorted(f"r{n}" for n in range(many))


async def test_what_was_acknowledged_is_found_by_every_search_that_begins_then(store: MongoResources) -> None:
    """Others are under way all the time, so that turns are shared."""
    await fill(store, LAB, apart="a")
    stop = asyncio.Event()

    async def others(n: int) -> None:
        while not stop.is_set():
            assert sorted(await found(store, f"patient.identifier=urn:mrn|{n}")) == of("a", n)

    async def moves(n: int) -> None:
        """A number moves from one person to another: it is found there, and only there, at once."""
        for turn in range(12):
            here, there = (f"m{n}-{turn % 2}", f"m{n}-{1 - turn % 2}")
            await put(store, patient(there, identified("urn:none", "0")))
            await put(store, patient(here, identified("urn:moves", str(n))), report(here, here))
            assert await found(store, f"patient.identifier=urn:moves|{n}") == [here]

    loaded = [asyncio.create_task(others(n)) for n in range(6)]
    try:
        await asyncio.gather(*(moves(n) for n in range(6)))
    finally:
        stop.set()
        await asyncio.gather(*loaded)


async def test_pages_show_the_moment_of_the_look_up(store: MongoResources) -> None:
    await put(store, patient("p1", identified("urn:mrn", "m")), *(report(f"r{n}") for n in (1, 2, 3)))
    text = "patient.identifier=urn:mrn|m&_sort=_id"
    first = await store.search(LAB, asked(text, count=2))
    assert (ids(first.entries), first.total) == (["r1", "r2"], 3)
    await put(store, patient("p1", identified("urn:mrn", "another")), report("r9"))
    rest: Any = replace(asked(text, count=9, position=first.next), as_of=first.as_of)
    assert ids((await store.search(LAB, rest)).entries) == ["r3"]
    assert await found(store, text) == []
