"""The store of dead letters on a real MongoDB: pieces, bounds, forgetting."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from store.dead_letters import Event, Refused, State
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS
from store.mongo.letters.bodies import PIECE_BYTES
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.mongo.retention.holds import MongoHolds
from store.retention.holds import Hold, HoldKind
from store.settings import StoreSettings
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, metrics, mongo_policies

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

NOTED = Event(NOW, "somebody", "something")


def refused(body: bytes = b"{}", **changed: Any) -> Refused:
    one = Refused(
        operation="create",
        method="POST",
        path="DiagnosticReport",
        headers={"Content-Type": "application/fhir+json"},
        origin="http://dod.test",
        client="lab",
        token_id="0123456789ab",
        scopes={"*": frozenset("cu"), "Patient": frozenset("r")},
        status=422,
        issues=(Issue("required", "`status` is missing", ("DiagnosticReport.status",)),),
        body=body,
        at=NOW,
    )
    return replace(one, **changed)


def store(database: Database, clock: Clock | None = None, **settings: Any) -> MongoDeadLetters:
    chosen = StoreSettings(mongodb_database=database.name, **settings)
    return MongoDeadLetters(
        database,
        settings=chosen,
        clock=clock or Clock(NOW),
        metrics=metrics(),
        policies=mongo_policies(database),
    )


def noise(size: int) -> bytes:
    """Bytes that do not shrink."""
    return random.Random(7).randbytes(size)


async def test_what_is_kept_comes_back(database: Database) -> None:
    letters = store(database)
    sent = refused()
    letter = await letters.get(LAB, await letters.keep(LAB, sent))
    assert letter is not None
    for name in (
        "operation",
        "method",
        "path",
        "headers",
        "origin",
        "client",
        "token_id",
        "scopes",
        "issues",
    ):
        assert getattr(letter, name) == getattr(sent, name), name
    assert (letter.at, letter.last_at, letter.times, letter.size) == (NOW, NOW, 1, 2)
    assert (letter.state, letter.revision, letter.events, letter.reason) == (State.OPEN, 0, (), "required")


async def test_letters_that_come_together_are_each_kept_once(database: Database) -> None:
    letters = store(database)
    known = await letters.keep(LAB, refused(b"0"))
    bodies = [b"%d" % (number % 10) for number in range(40)]
    ids = await asyncio.gather(*(letters.keep(LAB, refused(body)) for body in bodies))
    other = await asyncio.gather(*(letters.keep(OTHER, refused(body)) for body in bodies[:10]))
    assert ids[0] == known
    assert ids == ids[:10] * 4
    assert len({*ids, *other}) == 20
    for tenant, letter_id, body, times in (
        *zip([LAB] * 10, ids[:10], bodies, [5, *[4] * 9], strict=False),
        *zip([OTHER] * 10, other, bodies, [1] * 10, strict=False),
    ):
        letter = await letters.get(tenant, letter_id)
        assert letter is not None
        assert letter.times == times
        assert await letters.body(tenant, letter_id) == body
    await letters.drain()


@pytest.mark.parametrize("size", [0, 1, 999_000, 1_100_000, 2 * PIECE_BYTES + 1])
async def test_bodies_of_any_size_come_back_and_leave_no_pieces(database: Database, size: int) -> None:
    letters, body = store(database), noise(size)
    pieces = database[DEAD_LETTER_BODIES]
    letter_id = await letters.keep(LAB, refused(body))
    assert await letters.body(LAB, letter_id) == body
    assert await letters.body(OTHER, letter_id) is None
    expected = 0 if size < 1_000_000 else 1 if size < PIECE_BYTES else 3
    assert await pieces.count_documents({}) == expected
    assert await letters.keep(LAB, refused(body)) == letter_id
    assert await pieces.count_documents({}) == expected
    letter = await letters.get(LAB, letter_id)
    assert letter is not None
    other = noise(1_500_000)[::-1]
    assert await letters.replace_body(LAB, letter, other, NOTED)
    assert await letters.body(LAB, letter_id) == other
    assert await pieces.count_documents({}) == 1
    assert not await letters.replace_body(LAB, letter, body, NOTED), "it is another letter by now"
    assert await letters.body(LAB, letter_id) == other
    fixed = await letters.get(LAB, letter_id)
    assert fixed is not None
    assert await letters.close(LAB, fixed, State.DISCARDED, NOTED)
    assert await letters.body(LAB, letter_id) is None
    assert await pieces.count_documents({}) == 0


async def test_the_oldest_go_when_there_are_too_many(database: Database) -> None:
    letters = store(database, dead_letters_max=10)
    ids = []
    for number in range(25):
        moment = NOW + timedelta(seconds=number)
        ids.append(await letters.keep(LAB, refused(b"%d" % number, at=moment)))
        await letters.drain()
    await letters.keep(OTHER, refused())
    page = await letters.listed(LAB, limit=100)
    assert [letter.id for letter in page.letters] == ids[:14:-1]
    assert len((await letters.listed(OTHER)).letters) == 1, "each tenant has its own bound"


async def test_the_oldest_go_when_they_take_too_much(database: Database) -> None:
    letters = store(database, dead_letters_bytes_max=5_000_000)
    for number in range(5):
        body = noise(2_000_000 + number)
        await letters.keep(LAB, refused(body, at=NOW + timedelta(seconds=number)))
        await letters.drain()
    assert [letter.size for letter in (await letters.listed(LAB)).letters] == [2_000_004, 2_000_003]
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == 2


def held(**changed: Any) -> Hold:
    given = {"id": "h1", "tenant": LAB, "kind": HoldKind.TENANT, "subject": "", "reason": "litigation"}
    return Hold(**{**given, "placed_at": NOW, "by": "tests", **changed})


def holds_of(database: Database) -> MongoHolds:
    return MongoHolds(database, settings=StoreSettings(), metrics=metrics())


async def test_none_go_of_a_tenant_that_is_held(database: Database) -> None:
    clock, holds = Clock(NOW), holds_of(database)
    letters = store(database, clock, dead_letters_max=10)
    await holds.add(held(expires_at=NOW + timedelta(days=1)))
    await holds.add(held(id="h2", tenant=OTHER, kind=HoldKind.PATIENT, subject="Patient/p"))

    async def keep(first: int, last: int) -> dict[str, int]:
        for number in range(first, last):
            body = noise(1_100_000) if number == 0 else b"%d" % number
            for tenant in (LAB, OTHER):
                await letters.keep(tenant, refused(body, at=NOW + timedelta(seconds=number)))
                await letters.drain()
        kept = {name: len((await letters.listed(name, limit=100)).letters) for name in (LAB, OTHER)}
        return {str(name): count for name, count in kept.items()}

    assert await keep(0, 25) == {str(LAB): 25, str(OTHER): 10}, "a hold on a patient names no letters"
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == 1
    clock.move(days=1)
    assert await keep(25, 26) == {str(LAB): 10, str(OTHER): 10}
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == 0


async def test_of_a_tenant_that_is_held_none_is_discarded_or_fixed(database: Database) -> None:
    clock, holds = Clock(NOW), holds_of(database)
    letters, large = store(database, clock), noise(1_100_000)
    await holds.add(held(expires_at=NOW + timedelta(days=1)))
    for tenant, is_held in ((LAB, True), (OTHER, False)):
        letter = await letters.get(tenant, await letters.keep(tenant, refused(large)))
        assert letter is not None
        for lose in (
            partial(letters.replace_body, body=noise(1_200_000)),
            partial(letters.close, state=State.DISCARDED),
        ):
            if is_held:
                with pytest.raises(ServiceError, match="held") as caught:
                    await lose(tenant, letter, event=NOTED)
                assert caught.value.category is Category.CONFLICT
                assert await letters.body(tenant, letter.id) == large
            else:
                assert await lose(tenant, letter, event=NOTED)
            current = await letters.get(tenant, letter.id)
            assert current is not None
            letter = current
    # A letter that was replayed is stored, and held as what it became.
    [kept] = (await letters.listed(LAB)).letters
    assert await letters.close(LAB, kept, State.REPLAYED, NOTED)
    assert await database[DEAD_LETTER_BODIES].count_documents({}) == 0
    # When the hold ends, so does this.
    kept_id = await letters.keep(LAB, refused(b"{1}"))
    clock.move(days=1)
    after = await letters.get(LAB, kept_id)
    assert after is not None
    assert await letters.close(LAB, after, State.DISCARDED, NOTED)


async def test_a_letter_ends_some_days_after_it_last_came(database: Database) -> None:
    clock = Clock(NOW)
    letters = store(database, clock, dead_letter_days=2)
    letter_id = await letters.keep(LAB, refused(noise(1_200_000)))
    document = await database[DEAD_LETTERS].find_one({"_id": letter_id})
    piece = await database[DEAD_LETTER_BODIES].find_one({"letter": letter_id})
    assert document is not None
    assert piece is not None
    assert document["expires_at"] == piece["expires_at"] == NOW + timedelta(days=2)
    clock.move(days=2)
    assert await letters.get(LAB, letter_id) is None
    assert await letters.body(LAB, letter_id) is None


async def test_open_ones_are_counted_from_the_index(database: Database) -> None:
    letters = store(database)
    for number in range(4):
        await letters.keep(LAB, refused(b"%d" % number))
    [first, *_] = (await letters.listed(LAB)).letters
    await letters.close(LAB, first, State.REPLAYED, NOTED)
    assert await letters.count_open(limit=100) == 3
    assert await letters.count_open(limit=2) == 2


async def test_only_an_open_letter_can_be_changed(database: Database) -> None:
    letters = store(database)
    letter = await letters.get(LAB, await letters.keep(LAB, refused()))
    assert letter is not None
    assert await letters.refused_again(LAB, letter, 400, (Issue("structure", "no JSON"),), NOTED)
    again = await letters.get(LAB, letter.id)
    assert again is not None
    assert (again.status, again.reason, again.attempts, again.events) == (400, "structure", 1, (NOTED,))
    assert not await letters.close(OTHER, letter, State.DISCARDED, NOTED)
    assert await letters.close(LAB, letter, State.DISCARDED, NOTED)
    assert not await letters.close(LAB, letter, State.REPLAYED, NOTED)
    assert not await letters.refused_again(LAB, letter, 400, (), NOTED)
