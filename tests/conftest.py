"""Fixtures: a mongod for each worker of a run, a database or a service of its own for each test that asks.

A test that leads to a mongod has the marker `mongo`; without it, none can be started.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sys
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from api.server.event_loop import factory_of
from ingest.http import letter_keeper
from store.mongo import stores
from store.mongo.driver.client import connect
from store.mongo.embedded import embedded
from store.mongo.indexes import AUDIT, DEAD_LETTERS, INDEXES, ensure_indexes
from store.mongo.retention import policy_rollout as settling
from store.settings import StoreSettings
from tests.support.indexed import indexed_once
from tests.support.memory_backed import memory_backed
from tests.support.remembered import WRITES
from tests.support.routed import refused_by_the_router, run_behind_a_router
from tests.support.service import START, Service, opened_service
from tests.support.spread import WORKERS_A_CORE, spread, workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from store.mongo.driver.client import Client, Database
    from store.mongo.embedded import Embedded


# Machines are shared and noisy: how long an example takes says nothing. CI must fail for a reason of ours.
settings.register_profile(
    "dod",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("dod")

# --- the split: `make test-fast` is all without the marker `mongo`

LEADING = frozenset({"mongodb", "frail_mongod"})
"""Fixtures that start a mongod."""
STARTERS = {"embedded", "find_mongod", "replica_set", "standalone"}
"""Names of what starts a mongod of a test's own."""
LONG_FOLDERS = tuple(
    f"tests/{folder}/"
    for folder in (
        "api/commands/retention",
        "api/explorer",
        "api/faults",
        "api/interactions/purge",
        "api/workers",
        "k8s",
        "monitoring",
        "store/mongo/embedded",
    )
)
"""Folders whose tests start processes, or kill them, and wait."""
_MARKED = pytest.StashKey[bool]()
_running: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark what asks for a fixture that leads to a mongod, and modules that start mongods themselves, before
    `-m` chooses; spread what takes long behind it.
    """
    for item in items:
        assert isinstance(item, pytest.Function)
        if LEADING.intersection(item.fixturenames) or STARTERS & vars(item.module).keys():
            item.add_marker("mongo")
        item.stash[_MARKED] = item.get_closest_marker("mongo") is not None
    yield
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    if count > 1:
        items[:] = spread(items, count, module=lambda item: item.location[0], is_long=_is_long)


def _is_long(item: pytest.Item) -> bool:
    return item.location[0].startswith(LONG_FOLDERS) or item.get_closest_marker("slow") is not None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers of `-n auto`; tests without a database wait for nothing, and each worker loads them all."""
    return workers(1 if config.option.markexpr == "not mongo" else WORKERS_A_CORE)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, then or later, among thousands of tests that stay to the end.

    Later it is looked for less often than usual: that took a twentieth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Keep files of a run in memory, and mongods out of tests without the marker."""
    if config.option.basetemp is None and (folder := memory_backed()):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))
    sys.addaudithook(_started)
    _run_as_served()
    if "TESTS_ROUTED" in os.environ:
        run_behind_a_router()
    patch = pytest.MonkeyPatch()
    patch.setattr(stores, "ensure_indexes", indexed_once)
    # A busy machine takes longer than the moment that an answer waits for its letter.
    patch.setattr(letter_keeper, "WAIT_SECONDS", 60)


def _run_as_served() -> None:
    """Have event loops as `dod serve` has them; DOD_EVENT_LOOP chooses, as there."""
    wanted: Any = os.environ.get("DOD_EVENT_LOOP", "auto")
    if factory_of(wanted) is not asyncio.SelectorEventLoop:
        import uvloop  # noqa: PLC0415 -- where it is installed

        with (
            warnings.catch_warnings()
        ):  # Of Python 3.14: pytest-asyncio's other way names the loop in each test.
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def pytest_runtest_teardown() -> None:
    refused_by_the_router()


def pytest_runtest_setup(item: pytest.Item) -> None:
    _running[:] = [item]
    WRITES.others = False


def _started(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen":
        return
    WRITES.others = True
    if "--dbpath" in arguments[1] and not _running[-1].stash[_MARKED]:
        pytest.fail("This test starts a mongod: give it the marker, @pytest.mark.mongo.")


# --- fixtures


COMMON_TYPES = {"DiagnosticReport", "Observation", "Specimen", "Condition", "Patient", "Organization"}


@pytest.fixture(scope="session")
async def mongodb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Connection string of a real MongoDB that nobody else uses: an embedded one, unless one is named."""
    given = os.environ.get("DOD_MONGODB_URI")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("mongodb")
    async with embedded(folder, role="serve") as mongod:
        # Tests have a clock of their own, by which what MongoDB would take for expired is not.
        client = connect(mongod.uri, StoreSettings())
        await client.admin.command({"setParameter": 1, "ttlMonitorEnabled": False})
        client.close()
        yield mongod.uri
    # Also when tests have failed: it may lie in memory. The log stays then.
    shutil.rmtree(folder / "db")


@pytest.fixture(scope="session")
async def frail_mongod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedded]:
    """An embedded MongoDB that tests freeze, cut off and make step down, and leave as it was."""
    folder = tmp_path_factory.mktemp("frail")
    async with embedded(folder, role="serve") as mongod:
        yield mongod
    shutil.rmtree(folder / "db")


@pytest.fixture(scope="session")
async def mongo_client(mongodb: str) -> AsyncIterator[Client]:
    client = connect(mongodb, StoreSettings())
    yield client
    client.close()


@pytest.fixture(scope="session")
async def spare_databases(mongo_client: Client) -> AsyncIterator[list[Database]]:
    """Databases with the indexes and nothing else: making all indexes takes ten times as long as emptying."""
    spare: list[Database] = []
    yield spare
    for database in spare:
        await mongo_client.drop_database(database.name)


@pytest.fixture
async def database(mongo_client: Client, spare_databases: list[Database]) -> AsyncIterator[Database]:
    """A database with the indexes and nothing else."""
    if spare_databases:
        database = spare_databases.pop()
    else:
        database = mongo_client[f"dod_{uuid4().hex}"]
        await ensure_indexes(database)
    yield database
    if await _emptied(mongo_client, database):
        spare_databases.append(database)
    else:
        await mongo_client.drop_database(database.name)


async def _emptied(client: Client, database: Database) -> bool:
    """Whether it is as new: a test may have made or dropped an index, or had the profiler run.

    Two questions and a deletion where there is something; to ask each collection took five times as long.
    """
    stages: list[Any] = [
        {"$listCatalog": {}},
        {"$match": {"db": database.name}},
        {"$project": {"name": 1, "md": 1}},
    ]
    found = await client["admin"].aggregate(stages).to_list(None)
    made = {one["name"]: {index["spec"]["name"] for index in one["md"]["indexes"]} for one in found}
    if not {spec.collection for spec in INDEXES} <= made.keys():
        return False
    for name, indexes in made.items():
        wanted = {spec.name for spec in INDEXES if spec.collection == name}
        if name.startswith("system.") or indexes != {"_id_", *wanted}:
            return False
    filled: list[Any] = [
        {"$unionWith": {"coll": name, "pipeline": [{"$limit": 1}, {"$project": {"in": name}}]}}
        for name in made
    ]
    async for one in database["nothing"].aggregate(filled):
        await database[one["in"]].delete_many({})
    return True


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets time go by for leases, which go by the clock of MongoDB."""
    ahead = timedelta()

    def move(**units: float) -> None:
        nonlocal ahead
        ahead += timedelta(**units)
        now = {"$add": ["$$NOW", int(ahead / timedelta(milliseconds=1))]}
        monkeypatch.setattr("store.mongo.retention.lease._NOW", now)

    return move


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed policy looks for the types that tests store, not all 148: each costs calls, empty or not."""
    kept = {*COMMON_TYPES, DEAD_LETTERS, AUDIT}
    places = [one for one in settling.PLACES if one.rpartition("/")[2] in kept]
    monkeypatch.setattr(settling, "PLACES", tuple(places))
    monkeypatch.setattr(settling, "_TYPES", tuple(one for one in settling._TYPES if one in COMMON_TYPES))


@pytest.fixture
def asked_each_time() -> None:
    """Services of this test remember no tenant, token, client or policy."""
    WRITES.others = True


@pytest.fixture(scope="session")
async def running_service(mongodb: str) -> AsyncIterator[Service]:
    """The application that tests share which need no settings of their own."""
    async with opened_service(mongodb) as opened:
        yield opened


@pytest.fixture
async def shared(running_service: Service) -> Service:
    """The whole application, for a tenant that is new: tests share it and see nothing of one another."""
    running_service.clock.now = START
    return await running_service.new_tenant()


@pytest.fixture
def service(shared: Service) -> Service:
    """The shared application, where a module has no other one."""
    return shared


@pytest.fixture
async def own_service(mongodb: str) -> AsyncIterator[Service]:
    """An application that no other test has seen: nothing is counted yet, and it may be changed."""
    async with opened_service(mongodb) as opened:
        yield opened
