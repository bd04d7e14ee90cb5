"""One mongod for the whole run, and a database or a service of its own for each test that asks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from store.mongo.client import connect
from store.mongo.embedded import embedded
from store.mongo.indexes import INDEXES, ensure_indexes
from store.settings import StoreSettings
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.client import Client, Database


# Machines are shared and noisy: how long an example takes says nothing. CI must fail for a reason of ours.
settings.register_profile(
    "dod",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("dod")


@pytest.fixture(scope="session")
async def mongodb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Connection string of a real MongoDB that nobody else uses: an embedded one, unless one is named."""
    given = os.environ.get("DOD_MONGODB_URI")
    if given:
        yield given
        return
    async with embedded(tmp_path_factory.mktemp("mongodb"), role="serve") as mongod:
        yield mongod.uri


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
    if await _emptied(database):
        spare_databases.append(database)
    else:
        await mongo_client.drop_database(database.name)


async def _emptied(database: Database) -> bool:
    """Whether it is as new: a test may have made or dropped an index, or had the profiler run."""
    for name in await database.list_collection_names():
        made = set(await database[name].index_information()) - {"_id_"}
        if name.startswith("system.") or made != {spec.name for spec in INDEXES if spec.collection == name}:
            return False
        await database[name].delete_many({})
    return True


@pytest.fixture
async def service(mongodb: str) -> AsyncIterator[Service]:
    """The whole application, for a tenant that is new: tests share the database and see nothing of it."""
    async with opened_service(mongodb) as opened:
        yield opened
