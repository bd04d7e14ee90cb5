"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.mongo.changes.place import begin
from tests.support.store import NOW

if TYPE_CHECKING:
    from store.mongo.driver.client import Database


@pytest.fixture
async def begun(database: Database) -> Database:
    """A database whose change feed has begun."""
    await begin(database, now=NOW)
    return database
