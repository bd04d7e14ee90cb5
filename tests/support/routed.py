"""A run of tests behind the simulated router: `make test-routed`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

from store.mongo.routed_database import RoutedDatabase
from tests.support.router import Router

if TYPE_CHECKING:
    from store.mongo.driver.client import Client

_ROUTERS: list[Router] = []


def run_behind_a_router() -> None:
    """Have every database be that of a sharded deployment, here and elsewhere; look at its commands."""
    os.environ["DOD_MONGODB_SHARDED"] = "true"
    AsyncIOMotorClient.__getitem__ = _routed  # type: ignore[assignment, method-assign]
    router = Router()
    monitoring.register(router)
    _ROUTERS.append(router)


def _routed(client: Client, name: str) -> Any:
    return RoutedDatabase(client, name)


def refused_by_the_router() -> None:
    """Fail for what the test before has sent to every shard."""
    for router in _ROUTERS:
        refused, router.refused = sorted(set(router.refused)), []
        if refused:
            pytest.fail("sent to every shard:\n" + "\n".join(refused), pytrace=False)
