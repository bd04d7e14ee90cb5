"""Loading while the database comes and goes, and how a backfill steps aside."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from ingest.load import load
from ingest.load.bodies import Operator
from ingest.load.files import Bounds, sources
from ingest.load.load import Load, rest
from ingest.load.pushers import Here
from ingest.metrics import IngestMetrics
from ingest.settings import IngestSettings
from ingest.writes.push_context import PushContext
from store.errors import Category, ServiceError, StartupError
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored
from store.search.parsing.context import SearchLimits
from tests.support.fhir import report
from tests.support.store import BASE, LAB, NOW, mongo_store

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.load.files import Piece
    from ingest.load.results import Result
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.resources.versions import Prepared, PutResult
    from store.tenancy import Tenant


@dataclass
class Shaky:
    """A store that is away for some of the calls."""

    store: MongoResources
    away: set[int]
    calls: int = 0
    put: list[tuple[str, bytes]] = field(default_factory=list)

    async def put_many(self, tenant: Tenant, resources: list[Prepared]) -> list[PutResult]:
        self.calls += 1
        if self.calls in self.away:
            raise ServiceError(Category.UNAVAILABLE if self.calls % 2 else Category.TIMEOUT)
        self.put += [(one.key.id, one.body.tail) for one in resources]
        return await self.store.put_many(tenant, resources)


class Notes:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def loaded(self, piece: Piece, result: Result) -> None:
        self.counts += result.counts

    def passed(self, piece: Piece) -> None:
        self.counts["passed"] += 1


class NoFiles:
    """No document here is long enough to become a file."""

    async def put(self, *_: object) -> None:
        raise AssertionError

    async def keep(self, *_: object) -> None: ...


NO_FILES: Any = NoFiles()


def loading(store: Any, **changed: Any) -> Load:
    async def no_pause(seconds: float) -> None:
        paused.append(seconds)

    paused: list[float] = []
    ctx = PushContext(
        store=store,
        attachments=NO_FILES,
        tenant=LAB,
        caller=Operator(),
        base=BASE,
        secret=b"s",
        clock=lambda: NOW,
        settings=IngestSettings(),
        limits=SearchLimits(),
        metrics=IngestMetrics(CollectorRegistry()),
    )
    job = Load(
        ctx=ctx,
        pusher=Here(ctx),
        bounds=Bounds(1_000_000, 10_000_000),
        concurrency=8,
        bytes_max=1_000_000,
        journal=None,
        watcher=Notes(),
        pause=no_pause,
    )
    return replace(job, **changed)


def file_of(folder: Path, *resources: dict[str, Any]) -> list[Any]:
    path = folder / "a.ndjson"
    path.write_text("\n".join(map(json.dumps, resources)), encoding="utf-8")
    return list(sources([path], skipped=lambda _: None))


@pytest.mark.parametrize("away", [{1}, {1, 2, 3}, {5, 9, 10, 30}, set(range(3, 60))])
async def test_what_the_database_did_not_take_is_pushed_again_in_order(
    database: Database, tmp_path: Path, away: set[int]
) -> None:
    files = file_of(tmp_path, *(report(f"r{n % 3}", conclusion=str(n)) for n in range(60)))
    store = Shaky(mongo_store(database), away)
    job = loading(store)
    await job.run(files)
    assert isinstance(job.watcher, Notes)
    assert job.watcher.counts == Counter(created=3, replaced=57)
    for n in range(3):
        [*_, last] = [tail for key, tail in store.put if key == f"r{n}"]
        assert b'"conclusion":"%d"' % (57 + n) in last


async def test_what_failed_together_rests_until_the_first_of_it_gets_in(
    database: Database, tmp_path: Path
) -> None:
    rests: list[float] = []
    store = Shaky(mongo_store(database), set(range(1, 9)))

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        while store.calls < 8:  # noqa: ASYNC110 -- all of them fail before the first rest is over
            await asyncio.sleep(0)

    job = loading(store, pause=rest)
    await job.run(file_of(tmp_path, *(report(f"r{n}") for n in range(8))))
    assert (len(rests), store.calls, len(store.put)) == (1, 16, 8)


def practitioner(number: int, after: int | None = None) -> dict[str, Any]:
    """A transaction that creates one, who refers to another by a condition."""
    before = [] if after is None else [{"reference": f"Practitioner?identifier=urn:npi|{after}"}]
    resource = {
        "resourceType": "Practitioner",
        "identifier": [{"system": "urn:npi", "value": str(number)}],
        "extension": [{"url": "urn:after", "valueReference": one} for one in before],
    }
    request = {"method": "POST", "url": "Practitioner"}
    entry = {"resource": {k: v for k, v in resource.items() if v}, "request": request}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_what_comes_before_that_to_which_it_refers_is_tried_again_at_the_end(
    database: Database, tmp_path: Path, concurrency: int
) -> None:
    some = [practitioner(1, after=2), practitioner(2, after=3), practitioner(3), practitioner(9, after=8)]
    job = loading(mongo_store(database), concurrency=concurrency)
    await job.run(file_of(tmp_path, *some, report()))
    assert isinstance(job.watcher, Notes)
    assert job.watcher.counts == Counter(created=4, refused=1)


class _Slowly:
    """Files that take their time, as long ones do."""

    async def put(self, *_: object) -> None:
        for _turn in range(200):
            await asyncio.sleep(0)

    async def keep(self, *_: object) -> None: ...


SLOWLY: Any = _Slowly()


async def test_a_later_line_wins_though_a_document_before_it_takes_its_time(
    database: Database, tmp_path: Path
) -> None:
    document = {"contentType": "text/plain", "data": "QUJD" * 100_000}
    lines = [report("r", conclusion="earlier", presentedForm=[document]), report("r", conclusion="later")]
    store = mongo_store(database)
    job = loading(store)
    ctx = job.ctx._replace(attachments=SLOWLY)
    await replace(job, ctx=ctx, pusher=Here(ctx)).run(file_of(tmp_path, *lines))
    kept = await store.get(LAB, ResourceKey("DiagnosticReport", "r"))
    assert isinstance(kept, Stored)
    assert b'"conclusion":"later"' in kept.raw


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_later_line_wins_though_the_one_before_is_tried_again_at_the_end(
    database: Database, tmp_path: Path, concurrency: int
) -> None:
    early = practitioner(1, after=3)
    request = {"method": "PUT", "url": "DiagnosticReport/r"}
    early["entry"].append({"resource": report("r", conclusion="earlier"), "request": request})
    store = mongo_store(database)
    job = loading(store, concurrency=concurrency)
    await job.run(file_of(tmp_path, early, report("r", conclusion="later"), practitioner(3), report("s")))
    kept = await store.get(LAB, ResourceKey("DiagnosticReport", "r"))
    assert isinstance(kept, Stored)
    assert b'"conclusion":"later"' in kept.raw
    assert isinstance(job.watcher, Notes)
    assert job.watcher.counts == Counter(created=4, replaced=1)


async def test_only_so_much_waits_for_what_it_refers_to(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [practitioner(1, after=3), practitioner(2, after=3), practitioner(3)]
    monkeypatch.setattr(load, "EARLY_BYTES_MAX", len(json.dumps(some[0])) + 2)
    job = loading(mongo_store(database), concurrency=1)
    await job.run(file_of(tmp_path, *some))
    assert isinstance(job.watcher, Notes)
    assert job.watcher.counts == Counter(created=2, refused=1)


async def test_a_database_that_stays_away_ends_the_load(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0)
    job = loading(Shaky(mongo_store(database), set(range(1_000))))
    with pytest.raises(StartupError, match="goes on from here"):
        await job.run(file_of(tmp_path, *(report(f"r{n}") for n in range(60))))


async def test_no_more_than_so_many_bodies_and_bytes_are_under_way(tmp_path: Path) -> None:
    class Slow:
        at_once = most = 0

        async def put_many(self, tenant: Tenant, resources: list[Prepared]) -> list[PutResult]:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            raise ServiceError(Category.PRECONDITION)

    files = file_of(tmp_path, *(report(f"r{n}", conclusion="x" * 1_000) for n in range(50)))
    for limits, most in (({"concurrency": 5}, 5), ({"bytes_max": 4_000}, 3), ({"bytes_max": 1}, 1)):
        slow = Slow()
        job = loading(slow, **limits)
        await job.run(files)
        assert slow.most == most
        assert isinstance(job.watcher, Notes)
        assert job.watcher.counts == Counter(refused=50)


@pytest.mark.parametrize(
    ("took", "quickest", "seconds"),
    [(0.01, float("inf"), 0), (0.01, 0.01, 0), (0.014, 0.01, 0), (0.03, 0.01, 0.02), (60, 0.01, 1)],
)
def test_a_backfill_rests_as_long_as_others_made_it_wait(
    took: float, quickest: float, seconds: float
) -> None:
    assert rest(took, quickest) == pytest.approx(seconds)
