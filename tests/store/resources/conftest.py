"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from store.mongo.indexes import ensure_indexes
from tests.store.resources.dated import put_dated
from tests.support.store import (
    mongo_store,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Client, Database
    from store.mongo.resources.resources import MongoResources


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


# --- searching: every kind of clause


@pytest.fixture(scope="module")
async def shared_database(mongo_client: Client) -> AsyncIterator[Database]:
    """A database for tests that only read."""
    database = mongo_client[f"dod_{uuid4().hex}"]
    await ensure_indexes(database)
    yield database
    await mongo_client.drop_database(database.name)


@pytest.fixture
async def dated(store: MongoResources) -> MongoResources:
    await put_dated(store)
    return store
