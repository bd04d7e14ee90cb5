"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.interactions.purge.purged import World, opened_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Database


@pytest.fixture
async def world(mongodb: str, database: Database) -> AsyncIterator[World]:
    async with opened_world(mongodb, database) as opened:
        yield opened
