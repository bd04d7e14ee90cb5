"""Random stores, holds, batches and crashes: what is left is what a few sets say; so do plan and receipt."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from store.fhir.instants import from_datetime
from store.mongo.indexes import CHUNKS, FILES, HISTORY, RESOURCES
from store.retention.policy import NEVER
from tests.support.service import Clock
from tests.support.store import LAB, NOW
from tests.support.sweeping import HeldIds, stored, sweep, sweeping_of

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.retention.sweeping import MongoSweeping
    from store.retention.receipts import Receipt

    Document = dict[str, Any]

TYPES = ("DiagnosticReport", "Observation", "Specimen", "Patient")
"""Each may need those behind it."""
DAY = timedelta(days=1)
NAMES = tuple(f"file-{number:040x}" for number in range(4))


class World(NamedTuple):
    current: dict[str, Document]
    past: dict[str, Document]
    held: set[str]


def world(random: Random) -> World:
    current: dict[str, Document] = {}
    past: dict[str, Document] = {}
    for _ in range(random.randrange(4, 30)):
        place = random.randrange(len(TYPES))
        of_type, id = TYPES[place], f"x{random.randrange(8)}"
        lower = [f"{name}/x{number}" for name in TYPES[place + 1 :] for number in range(8)]
        one = document(random, f"{LAB}/{of_type}/{id}", of_type, id, 9)
        one["needs"] = sorted(random.sample(lower, min(len(lower), random.randrange(4))))
        one["policy"] = random.choice([1, 2])
        if random.random() < 0.1:
            one = {**one, "deleted": True, "was": of_type}
            for name in ("type", "needs", "policy", "files"):
                one.pop(name, None)
        current[one["_id"]] = one
    for owner in current.values():
        for version in range(random.randrange(3)):
            of_type = owner.get("type") or owner["was"]
            one = document(random, f"{owner['_id']}/{version}", of_type, owner["id"], version)
            past[one["_id"]] = one
    everyone = [*current, *past]
    return World(current, past, set(random.sample(everyone, random.choice([0, 0, 1, len(everyone) // 8]))))


def document(random: Random, name: str, of_type: str, id: str, version: int) -> Document:
    moment = from_datetime(NOW - random.randrange(90) * DAY)
    expires = random.choice([NOW - DAY, NOW, NOW + timedelta(seconds=1), NOW - 30 * DAY, NEVER])
    files = random.sample(NAMES, random.choice([0, 0, 1, 2]))
    return {
        "_id": name,
        "tenant": str(LAB),
        "type": of_type,
        "id": id,
        "version": version,
        "updated": {"lo": moment.start, "hi": moment.end},
        "expires_at": expires,
        **({"files": files} if files else {}),
    }


async def put(database: Database, made: World) -> None:
    await database[RESOURCES].insert_many(list(made.current.values()))
    if made.past:
        await database[HISTORY].insert_many(list(made.past.values()))
    for name in NAMES:
        file = {
            "_id": f"upload of {name}",
            "tenant": str(LAB),
            "id": name,
            "length": 3,
            "touched": NOW - DAY,
            "uploadDate": NOW - DAY,
        }
        await database[FILES].insert_one(file)
        await database[CHUNKS].insert_one(
            {"tenant": str(LAB), "files_id": file["_id"], "n": 0, "data": b"abc"}
        )


def expected(made: World) -> dict[str, set[str]]:
    """Resources that are left, by the words of the design."""
    stays = {n for n, one in made.current.items() if one["expires_at"] > NOW or n in made.held}
    while True:
        needed = {f"{LAB}/{need}" for n in stays for need in made.current[n].get("needs", ())}
        more = {n for n in needed & made.current.keys() if "type" in made.current[n]} - stays
        if not more:
            break
        stays |= more
    past = set()
    for name, one in made.past.items():
        owner = name.rpartition("/")[0]
        if owner in stays and (one["expires_at"] > NOW or {name, owner} & made.held):
            past.add(name)
    named = {f for n in stays for f in made.current[n].get("files", ())}
    named |= {f for n in past for f in made.past[n].get("files", ())}
    ever = {f for one in (*made.current.values(), *made.past.values()) for f in one.get("files", ())}
    # What no version ever referred to is the collector's.
    return {
        RESOURCES: stays,
        HISTORY: past,
        FILES: {f"upload of {f}" for f in NAMES if f in named or f not in ever},
    }


class CrashError(Exception):
    """The process ends here."""


def failing(sweeping: MongoSweeping, random: Random) -> None:
    """Let the process end now and then: within a batch, or just after it."""
    batch = sweeping.runs.batch

    async def crash(lease: Any, run: Any, work: Any) -> Any:
        async def broken(session: Any) -> Any:
            await work(session)
            raise CrashError

        fate = random.random()
        done = await batch(lease, run, broken if fate < 0.15 else work)
        if fate > 0.85:
            raise CrashError
        return done

    sweeping.runs.batch = crash  # type: ignore[method-assign]  # this is where the process ends


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_left_is_what_a_few_sets_say(database: Database, seed: int) -> None:
    random = Random(seed)
    made, clock, holds = world(random), Clock(NOW), HeldIds()
    holds.ids = made.held
    await put(database, made)
    before = await stored(database, RESOURCES, HISTORY, FILES)
    planned = await sweeping_of(database, clock, holds=holds).plan([LAB])
    receipt: Receipt | None = None
    while receipt is None:
        replica = sweeping_of(database, clock, holds=holds, retention_batch=random.choice([1, 2, 3, 50]))
        failing(replica, random)
        try:
            [receipt] = await sweep(replica)
        except CrashError:
            continue
    left = await stored(database, RESOURCES, HISTORY, FILES)
    assert {name: set(ids) for name, ids in left.items()} == expected(made)
    assert await database[CHUNKS].count_documents({}) == len(left[FILES])
    gone = sum(len(before[name]) - len(left[name]) for name in left)
    assert receipt.deleted == gone == sum(planned.deleted.values())
    by_row: Counter[Any] = Counter()
    for one, count in planned.deleted.items():
        by_row[one.row] += count
    assert {one.row: one.count for one in receipt.rows} == by_row
    assert sum(one.count for one in receipt.skipped) == sum(planned.skipped.values())
    [again] = await sweep(sweeping_of(database, clock, holds=holds))
    assert again.rows == ()
