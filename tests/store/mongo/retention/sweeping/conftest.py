"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.mongo.retention.sweeping.swept import POLICY
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, mongo_policies, mongo_store
from tests.support.sweeping import sweeping_of

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.mongo.retention.sweeping import MongoSweeping


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def store(database: Database, clock: Clock) -> MongoResources:
    for tenant in (LAB, OTHER):
        await mongo_policies(database).put(tenant, POLICY, instead_of=0)
    return mongo_store(database, clock=clock)


@pytest.fixture
def sweeping(database: Database, clock: Clock) -> MongoSweeping:
    return sweeping_of(database, clock)
