"""Random resources, random searches: what MongoDB answers is what brute force finds, page by page.

`ORACLE_ROUNDS` says how many searches, `ORACLE_SEED` which world to begin with; a failure names its own,
and `make soak` runs many.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.errors import ServiceError
from store.fhir.instants import from_datetime
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Total
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.tenancy import Tenant
from tests.oracle.search import words, worlds
from tests.oracle.search.including import included
from tests.oracle.search.matching import World
from tests.oracle.search.queries import Asker
from tests.support.store import content, ids, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.resources.pages import Page
    from store.search.criteria import Position, SearchQuery

Json = dict[str, Any]
Pair = tuple[str, str]

ROUNDS: Final = int(os.environ.get("ORACLE_ROUNDS", "600"))
SEED: Final = int(os.environ.get("ORACLE_SEED", "1"))
SEARCHES_PER_WORLD: Final = 100
CHANGES: Final = 8
"""After the first half of a world's searches, so that the second half asks what has changed."""
ALL_SIZES_EVERY: Final = 12
"""So many searches are paged by one size each, then one by every size."""
WRITING_WORLDS: Final = max(2, ROUNDS // 500)
START: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Ward:
    """A tenant of the store, and the same resources as plain JSON."""

    def __init__(self, database: Database, seed: int) -> None:
        ticks = count()
        self.seed = seed
        self.store: MongoResources = mongo_store(
            database, clock=lambda: START + timedelta(milliseconds=next(ticks))
        )
        self.tenant = Tenant(f"seed{seed}", "Production")
        self.world = World(words.BASE, from_datetime(START).start)

    async def put(self, *resources: Json) -> None:
        results = await put(self.store, *resources, tenant=self.tenant)
        for resource, result in zip(resources, results, strict=True):
            stored = content(await self.store.get(self.tenant, result.stored.key))["meta"]
            meta = {**resource.get("meta", {}), "lastUpdated": stored["lastUpdated"]}
            self.world.resources[resource["resourceType"], resource["id"]] = {**resource, "meta": meta}

    async def delete(self, type: str, id: str) -> None:
        await self.store.delete(self.tenant, ResourceKey(type, id))
        self.world.resources.pop((type, id), None)

    async def apply(self, change: Json | tuple[str, str]) -> None:
        if isinstance(change, dict):
            await self.put(change)
        else:
            await self.delete(*change)

    def moments(self) -> list[str]:
        return sorted({one["meta"]["lastUpdated"] for one in self.world.resources.values()})[:40:4]

    def query(self, type: str, pairs: Sequence[Pair]) -> SearchQuery:
        context = SearchContext(SearchLimits(), words.BASE, from_datetime(START).start, strict=True)
        return parse(type, pairs, context).query

    async def page(self, query: SearchQuery, size: int, position: Position | None = None) -> Page:
        asked = replace(query, count=size, total=Total.ACCURATE, position=position)
        return await self.store.search(self.tenant, asked)

    async def difference(self, type: str, pairs: Sequence[Pair], sizes: Sequence[int] | None) -> str | None:
        """Fault of the answer, if any; None for `sizes` is each from 1 to one too many."""
        wanted = self.world.search(type, pairs)
        try:
            query = self.query(type, pairs)
            whole = await self.page(query, 1_000)
        except ServiceError as error:
            return f"refused: {[issue.text for issue in error.issues]}, wanted {wanted}"
        found = ids(whole.entries)
        if found not in wanted:
            return f"found {found}, wanted {' or '.join(map(str, wanted))}"
        if whole.total != len(found):
            return f"found {found}, total {whole.total}"
        if wrong := await self.counted(query, len(found)):
            return wrong
        for size in range(1, len(found) + 2) if sizes is None else sizes:
            wrong = await self.paged(type, pairs, query, size, found)
            if wrong:
                return f"pages of {size}: {wrong}"
        return None

    async def counted(self, query: SearchQuery, wanted: int) -> str | None:
        """`_count=0`, as `_summary=count`: the total and nothing else."""
        page = await self.page(query, 0)
        if (page.entries, page.included, page.next, page.previous) != ((), (), None, None):
            return f"_count=0 shows {page}"
        return None if page.total == wanted else f"_count=0 counts {page.total}, wanted {wanted}"

    async def paged(
        self, type: str, pairs: Sequence[Pair], query: SearchQuery, size: int, whole: list[str]
    ) -> str | None:
        """Every page by `next`, then back again by `previous`, each with what its matches bring along."""
        pages = [await self.page(query, size)]
        while pages[-1].next is not None and len(pages) <= len(whole):
            pages.append(await self.page(query, size, pages[-1].next))
        back = [pages[-1]]
        while back[-1].previous is not None and len(back) <= len(whole):
            back.append(await self.page(query, size, back[-1].previous))
        forward = [ids(page.entries) for page in pages]
        cut = [whole[n : n + size] for n in range(0, len(whole), size)] or [[]]
        if forward != cut:
            return f"next: {forward}, wanted {cut}"
        if [ids(page.entries) for page in reversed(back)] != cut:
            return f"previous: {[ids(page.entries) for page in reversed(back)]}, wanted {cut}"
        for page in (*pages, *back):
            brought = [str(entry.key) for entry in page.included]
            matches = [self.world.resources[type, id] for id in ids(page.entries)]
            along = included(self.world, matches, pairs)
            if len(brought) != len(set(brought)) or set(brought) != along:
                return f"{ids(page.entries)} bring {sorted(brought)}, wanted {sorted(along)}"
        totals = {page.total for page in (*pages, *back)}
        return None if totals == {len(whole)} else f"totals {totals}, wanted {len(whole)}"

    async def last(self, query: SearchQuery, size: int) -> Page:
        """The page that has no next one."""
        page = await self.page(query, size)
        while page.next is not None:
            page = await self.page(query, size, page.next)
        return page

    async def forget(self, *, keep: int) -> None:
        """Delete reports until so many are left."""
        for one in self.world.of("DiagnosticReport")[keep:]:
            await self.delete("DiagnosticReport", one["id"])


async def ward_of(database: Database, seed: int) -> Ward:
    ward = Ward(database, seed)
    random = Random(f"{seed} world")
    waiting = worlds.first(random)
    while waiting:  # Some are stored at the same moment, others later.
        together = random.randint(1, 10)
        await ward.put(*waiting[:together])
        waiting = waiting[together:]
    return ward


async def smaller(pairs: list[Pair], fails: Callable[[list[Pair]], Awaitable[bool]]) -> list[Pair]:
    """The search with all left out that it fails without."""
    for index in range(len(pairs) - 1, -1, -1):
        without = pairs[:index] + pairs[index + 1 :]
        if await fails(without):
            pairs = without
    for index, (name, text) in enumerate(pairs):
        for value in text.split(","):
            alone = [*pairs[:index], (name, value), *pairs[index + 1 :]]
            if value != text and value and not text.count("\\") and await fails(alone):
                pairs = alone
                break
    return pairs


async def report(ward: Ward, number: int, type: str, pairs: list[Pair], sizes: Sequence[int] | None) -> str:
    """Everything that is needed to see which side is wrong."""

    async def fails(fewer: list[Pair]) -> bool:
        return await ward.difference(type, fewer, sizes) is not None

    least = await smaller(pairs, fails)
    wrong = await ward.difference(type, least, sizes)
    dump = "\n".join(json.dumps(one, ensure_ascii=False) for one in ward.world.resources.values())
    query = "&".join(f"{name}={text}" for name, text in least)
    return (
        f"ORACLE_SEED={ward.seed} search {number}: {type}?{query}\n{wrong}\n"
        f"as asked: {'&'.join(f'{name}={text}' for name, text in pairs)}\n{dump}"
    )


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, ROUNDS // SEARCHES_PER_WORLD)))
async def test_the_answer_is_that_of_brute_force(database: Database, seed: int) -> None:
    ward, random = await ward_of(database, seed), Random(f"{seed} searches")
    for number in range(min(ROUNDS, SEARCHES_PER_WORLD)):
        if number == SEARCHES_PER_WORLD // 2:
            for _ in range(CHANGES):
                await ward.apply(worlds.change(random))
        type, pairs = Asker(random, ward.moments()).search()
        sizes = None if number % ALL_SIZES_EVERY == 0 else [random.randint(1, 9)]
        if await ward.difference(type, pairs, sizes) is not None:
            pytest.fail(await report(ward, number, type, pairs, sizes), pytrace=False)


# --- paging while writes go on


WRITTEN: Final = (
    *("", "date", "-date", "issued", "-issued", "_id", "-_id", "_lastUpdated", "-date,_id"),
    *("status", "-status,date", "code", "-code,-issued", "-identifier", "based-on,status", "-encounter"),
    *("category,-date,status", "-_tag,_profile", "_source,-code", "result,_lastUpdated"),
)
WRITES_MAX: Final = 12


def anew(random: Random, number: int) -> Json:
    """A report of the patient that nobody has seen, before, among or behind those there are."""
    made = worlds.Maker(random).resource("DiagnosticReport", f"{random.choice('aqrz')}new{number}")
    made.pop("contained", None)
    return {**made, "subject": {"reference": "Patient/p1"}}


async def write(ward: Ward, random: Random, number: int) -> set[str]:
    """New reports, a changed one, a deleted one; the ids of those that are no longer as they were."""
    await ward.put(*(anew(random, 10 * number + n) for n in range(random.randint(0, 3))))
    touched: set[str] = set()
    for wants in (0.4, 0.3):
        there = [one["id"] for one in ward.world.of("DiagnosticReport")]
        if not there or random.random() > wants:
            continue
        id = random.choice(there)
        touched.add(id)
        if wants == 0.3:
            await ward.delete("DiagnosticReport", id)
        else:
            await ward.put({**anew(random, 0), "id": id})
    return touched


@pytest.mark.parametrize("seed", range(SEED, SEED + WRITING_WORLDS))
@pytest.mark.parametrize("forwards", [True, False], ids=["next", "previous"])
@pytest.mark.parametrize("remembered", [True, False], ids=["of one moment", "of now"])
async def test_pages_while_writes_go_on(
    database: Database, seed: int, *, forwards: bool, remembered: bool
) -> None:
    """Unchanged resources appear once and in order, whatever arrives, changes or goes between two pages.

    While the database remembers the moment of the first page, the others show it to the letter.
    """
    ward, random = Ward(database, seed), Random(f"{seed} writes")
    await ward.put(*(anew(random, n) for n in range(-14, 0)))
    turned = 0
    sorts = random.sample(WRITTEN, k=len(WRITTEN) // 3)  # `make soak` comes to all of them.
    for sort in sorts:
        pairs = [("patient", "p1"), *([("_sort", sort)] if sort else [])]
        query, size = ward.query("DiagnosticReport", pairs), random.randint(1, 6)
        [before] = ward.world.search("DiagnosticReport", pairs)
        pages = [await (ward.page(query, size) if forwards else ward.last(query, size))]
        touched: set[str] = set()
        while (position := pages[-1].next if forwards else pages[-1].previous) is not None:
            if len(pages) <= WRITES_MAX:  # What arrives behind the last page would be read for ever.
                number = 1_000 * seed + 100 * WRITTEN.index(sort) + len(pages)
                touched |= await write(ward, random, number)
            as_of = pages[0].as_of if remembered else None
            pages.append(await ward.page(replace(query, as_of=as_of), size, position))
        turned += len(pages)
        seen = [id for page in (pages if forwards else pages[::-1]) for id in ids(page.entries)]
        where = f"ORACLE_SEED={seed} _sort={sort} pages of {size}, touched {sorted(touched)}"
        untouched = [id for id in before if id not in touched]
        assert [id for id in seen if id in untouched] == untouched, f"{where}: {seen}"
        if remembered:
            assert seen == before, where
            assert {page.total for page in pages} == {len(before)}, where
        await ward.forget(keep=14)
    assert turned > 2 * len(sorts)
