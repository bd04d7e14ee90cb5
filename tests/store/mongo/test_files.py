"""Files in GridFS: whole or not there, once per content, and collected only when nobody needs them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import gridfs
import pytest

from store.errors import Category, ServiceError
from store.files import CHUNK_BYTES, Collected, NewFile
from store.mongo.files import MongoAttachments
from store.mongo.indexes import CHUNKS, FILES
from store.resources.resource_keys import ResourceKey
from store.settings import StoreSettings
from tests.support.fhir import report
from tests.support.service import Clock
from tests.support.store import LAB, OTHER, metrics, mongo_store, prepared, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.files import File
    from store.mongo.driver.client import Database
    from store.tenancy import Tenant

GRACE = timedelta(hours=1)
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7]


def content(size: int) -> bytes:
    """Bytes of which each stretch is another."""
    return b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]


def cut(whole: bytes) -> Iterator[bytes]:
    for at in range(0, len(whole), CHUNK_BYTES):
        yield whole[at : at + CHUNK_BYTES]


def new_file(whole: bytes = b"made up", *, number: int = 0) -> NewFile:
    digest = sha1(whole, usedforsecurity=False).digest()
    name = f"file-{number:08x}{digest[:16].hex()}"
    return NewFile(name, len(whole), digest, "application/pdf", partial(cut, whole))


def refers_to(file: NewFile, id: str = "r1", **elements: Any) -> dict[str, Any]:
    return report(id, presentedForm=[{"url": f"Binary/{file.id}"}], **elements)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(database: Database, clock: Clock) -> MongoAttachments:
    return MongoAttachments(database, settings=StoreSettings(), clock=clock, metrics=metrics())


async def found(files: MongoAttachments, file: NewFile, tenant: Tenant = LAB) -> File:
    there = await files.find(tenant, file.id)
    assert there is not None
    return there


async def read(files: MongoAttachments, file: NewFile, start: int = 0, end: int | None = None) -> bytes:
    there = await found(files, file)
    until = there.size if end is None else end
    return b"".join([piece async for piece in files.read(LAB, there, start=start, end=until)])


async def collect(
    files: MongoAttachments, clock: Clock, *, tenant: Tenant = LAB, limit: int = 100
) -> Collected:
    return await files.collect(tenant, now=clock(), grace=GRACE, after=None, limit=limit)


async def left(database: Database) -> tuple[int, int]:
    """Documents of files and of chunks, whole or not."""
    return await database[FILES].count_documents({}), await database[CHUNKS].count_documents({})


# --- whole or not there


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_comes_back(files: MongoAttachments, size: int) -> None:
    file = new_file(content(size))
    await files.put(LAB, [file])
    there = await found(files, file)
    assert (there.id, there.size, there.sha1, there.content_type) == (
        file.id,
        size,
        file.sha1,
        "application/pdf",
    )
    assert await read(files, file) == content(size)


async def test_a_part_of_a_file(files: MongoAttachments) -> None:
    whole = content(SIZES[-1])
    file = new_file(whole)
    await files.put(LAB, [file])
    for start in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 4 * CHUNK_BYTES, 5 * CHUNK_BYTES):
        for length in (1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES):
            end = min(start + length, SIZES[-1])
            assert await read(files, file, start, end) == whole[start:end], (start, end)


async def test_it_is_gridfs_as_other_tools_read_it(files: MongoAttachments, database: Database) -> None:
    file = new_file(content(SIZES[-1]))
    await files.put(LAB, [file])
    there = await found(files, file)
    whole = gridfs.GridFS(database.delegate, collection="attachments")
    assert await asyncio.to_thread(lambda: whole.get(there.upload).read()) == content(SIZES[-1])


async def test_the_same_again_is_not_sent_again(files: MongoAttachments, database: Database) -> None:
    file = new_file()
    await files.put(LAB, [file, file])
    before = await left(database)

    def unread() -> Iterator[bytes]:
        raise AssertionError

    await files.put(LAB, [file._replace(pieces=unread)])
    assert before == await left(database) == (1, 1)


async def test_simultaneous_twins_leave_one_copy(files: MongoAttachments, database: Database) -> None:
    for number in range(4):
        file = new_file(content(CHUNK_BYTES + 5), number=number)
        await asyncio.gather(*(files.put(LAB, [file]) for _ in range(8)))
        assert await left(database) == (number + 1, 2 * (number + 1))
        assert await read(files, file) == content(CHUNK_BYTES + 5)


async def test_another_tenant_sees_nothing_of_it(files: MongoAttachments, clock: Clock) -> None:
    file = new_file()
    await files.put(LAB, [file])
    assert await files.find(OTHER, file.id) is None
    there = await found(files, file)
    with pytest.raises(ServiceError):
        _ = [piece async for piece in files.read(OTHER, there, start=0, end=there.size)]
    clock.move(hours=2)
    await collect(files, clock, tenant=OTHER)
    assert await files.find(LAB, file.id) is not None


async def test_an_upload_that_breaks_off_leaves_nothing_to_be_found(
    files: MongoAttachments, database: Database, clock: Clock
) -> None:
    whole = content(9 * CHUNK_BYTES)
    file = new_file(whole)

    def broken() -> Iterator[bytes]:
        yield from [whole[at : at + CHUNK_BYTES] for at in range(0, 6 * CHUNK_BYTES, CHUNK_BYTES)]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await files.put(LAB, [file._replace(pieces=broken)])
    assert await files.find(LAB, file.id) is None
    assert await left(database) == (1, 4)
    await files.put(LAB, [file])
    assert await read(files, file) == whole
    clock.move(hours=2)
    await mongo_store(database).put_many(LAB, [prepared(refers_to(file))])
    assert (await collect(files, clock)).deleted == 1
    assert await left(database) == (1, 9)
    assert await read(files, file) == whole


async def test_missing_chunks_are_a_fault_and_no_shorter_file(
    files: MongoAttachments, database: Database
) -> None:
    file = new_file(content(3 * CHUNK_BYTES))
    await files.put(LAB, [file])
    await database[CHUNKS].delete_one({"n": 1})
    with pytest.raises(ServiceError) as failed:
        await read(files, file)
    assert failed.value.category is Category.FAULT


# --- collecting


async def test_an_orphan_is_collected_after_an_hour_and_not_before(
    files: MongoAttachments, database: Database, clock: Clock
) -> None:
    await files.put(LAB, [new_file()])
    clock.move(minutes=60)
    assert await collect(files, clock) == Collected(0, 0, 0, None)
    clock.move(milliseconds=1)
    assert await collect(files, clock) == Collected(1, 1, 7, None)
    assert await left(database) == (0, 0)
    assert await collect(files, clock) == Collected(0, 0, 0, None)


async def test_what_a_current_or_a_past_version_refers_to_stays(
    files: MongoAttachments, database: Database, clock: Clock
) -> None:
    store = mongo_store(database, clock=clock)
    current, past, deleted, orphan, of_other = [new_file(number=n) for n in range(5)]
    await files.put(LAB, [current, past, deleted, orphan, of_other])
    await put(store, refers_to(current), refers_to(past, "r2"), refers_to(deleted, "r3"))
    await put(store, refers_to(of_other), tenant=OTHER)
    await put(store, report("r2"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r3"))
    clock.move(days=365)
    assert (await collect(files, clock)).deleted == 2
    there = [await files.find(LAB, one.id) is not None for one in (current, past, deleted, orphan, of_other)]
    assert there == [True, True, True, False, False]


async def test_who_refers_to_a_file_again_keeps_it(files: MongoAttachments, clock: Clock) -> None:
    sent, named = new_file(number=1), new_file(number=2)
    await files.put(LAB, [sent, named])
    clock.move(hours=2)
    await files.put(LAB, [sent])
    await files.keep(LAB, [named.id, "file-nowhere"])
    assert (await collect(files, clock)).deleted == 0
    clock.move(hours=2)
    assert (await collect(files, clock)).deleted == 2


async def test_a_file_that_is_touched_while_it_is_judged_stays(
    files: MongoAttachments, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = new_file()
    await files.put(LAB, [file])
    clock.move(hours=2)
    judged = files._is_needed

    async def and_then_somebody_comes(owner: str, file_id: str) -> bool:
        needed = await judged(owner, file_id)
        await files.put(LAB, [file])
        return needed

    monkeypatch.setattr(files, "_is_needed", and_then_somebody_comes)
    assert (await collect(files, clock)).deleted == 0
    assert await read(files, file) == b"made up"


async def test_a_collector_that_breaks_off_is_finished_by_the_next(
    files: MongoAttachments, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = new_file()
    await files.put(LAB, [file])
    clock.move(hours=2)

    async def killed(owner: str, upload: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(files, "_remove", killed)
        with pytest.raises(InterruptedError):
            await collect(files, clock)
    assert await files.find(LAB, file.id) is None
    await files.put(LAB, [file])  # Meets nothing of the condemned copy.
    assert (await collect(files, clock)).deleted == 1
    assert await left(database) == (1, 1)
    assert await read(files, file) == b"made up"


async def test_a_file_whose_tenant_leaves_while_it_is_sent_leaves_nothing(
    files: MongoAttachments, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that come after the tenant was emptied would belong to no file: nothing would lead to them."""
    send = files._send

    async def emptied(chunks: Any) -> None:
        await database[FILES].delete_many({})
        await send(chunks)

    monkeypatch.setattr(files, "_send", emptied)
    with pytest.raises(ServiceError) as refused:
        await files.put(LAB, [new_file()])
    assert refused.value.category is Category.UNAVAILABLE
    assert await left(database) == (0, 0)


async def test_steps_are_bounded_and_come_to_an_end(
    files: MongoAttachments, database: Database, clock: Clock
) -> None:
    kept = new_file(number=99)
    await files.put(LAB, [kept, *(new_file(number=n) for n in range(7))])
    await put(mongo_store(database), refers_to(kept))
    clock.move(hours=2)
    steps: list[tuple[int, int]] = []
    after: object | None = None
    while not steps or after is not None:
        step = await files.collect(LAB, now=clock(), grace=GRACE, after=after, limit=3)
        steps.append((step.examined, step.deleted))
        after = step.next
    assert steps == [(3, 2), (3, 3), (2, 2)]


async def test_collectors_and_senders_at_once_lose_nothing(
    files: MongoAttachments, database: Database, clock: Clock
) -> None:
    store = mongo_store(database, clock=clock)
    file = new_file(content(CHUNK_BYTES + 1))

    async def send(number: int) -> None:
        await files.put(LAB, [file])
        await put(store, refers_to(file, conclusion=str(number)))

    for number in range(8):
        await files.put(LAB, [file])
        clock.move(hours=2)
        await asyncio.gather(send(number), *(collect(files, clock) for _ in range(3)))
        assert await read(files, file) == content(CHUNK_BYTES + 1)
        await database["resources"].delete_many({})
        await database["history"].delete_many({})


async def test_who_refers_to_a_file(files: MongoAttachments, database: Database) -> None:
    file = new_file()
    await put(mongo_store(database), refers_to(file))
    for types, expected in (
        (["DiagnosticReport"], True),
        (["Media", "DiagnosticReport"], True),
        (["Media"], False),
    ):
        assert await files.is_referred_to(LAB, file.id, types=types) is expected
        assert await files.is_referred_to(OTHER, file.id, types=types) is False
    await mongo_store(database).delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    assert await files.is_referred_to(LAB, file.id, types=["DiagnosticReport"]) is False
