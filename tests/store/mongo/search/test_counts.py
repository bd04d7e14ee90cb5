"""Totals: from an index alone where nothing ever ends, and right where something does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.search import find_commands as commands
from store.retention.policy import Policy
from store.search.criteria import Total
from store.search.planning.plan import plan
from tests.support.fhir import report
from tests.support.store import LAB, NOW, asked, let, mongo_settling, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

GLUCOSE = {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", 6),
        ("code=2345-7", 4),
        ("code=2345-7,718-7", 6),
        ("patient=p1", 3),
        ("patient=p1&code=2345-7", 2),
    ],
)
async def test_what_never_ends_is_counted_without_a_document(
    database: Database, text: str, matches: int
) -> None:
    store = mongo_store(database, policy_cache_seconds=60)
    hemoglobin = {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}
    await put(
        store,
        *(
            report(
                f"r{n}", f"p{n % 2}", code=GLUCOSE if n < 5 else hemoglobin, effectiveDateTime=f"2026-01-0{n}"
            )
            for n in range(1, 7)
        ),
    )
    for total in (Total.BOUNDED, Total.ACCURATE):
        query = asked(text, count=1, total=total)
        assert (await store.search(LAB, query)).total == matches
        find = plan(str(LAB), query, resolved={}, now=NOW)
        at_most = 100 if total is Total.BOUNDED else None
        command = commands.count(find, at_most=at_most, nothing_ends=True)
        explain: Any = {"explain": command, "verbosity": "executionStats"}
        explained = await database.command(explain)
        assert documents_of(explained) == 0, commands.examined(explained)


def documents_of(explained: Any) -> int:
    """Number of documents that were read."""
    return int(commands.examined(explained)[0])


async def test_what_has_ended_counts_no_more(database: Database) -> None:
    now = [NOW]
    store = mongo_store(database, clock=lambda: now[0])
    await put(store, *(report(f"r{n}") for n in range(5)))
    totals = [asked("", count=0, total=total) for total in (Total.BOUNDED, Total.ACCURATE)]
    assert [(await store.search(LAB, one)).total for one in totals] == [5, 5]
    await let(database, Policy(keep_days=1))
    settling = mongo_settling(database)
    while await settling.step(LAB):
        pass
    now[0] += timedelta(days=2)
    assert [(await store.search(LAB, one)).total for one in totals] == [0, 0]
