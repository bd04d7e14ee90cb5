"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from store.tenancy import SearchScope
from tests.api.subscriptions.subscribing import subscribing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service


@pytest.fixture(scope="module")
async def following(mongodb: str) -> AsyncIterator[Service]:
    async with subscribing(mongodb, f"dod_{uuid4().hex[:12]}", subscription_batch_max=3) as opened:
        yield opened


@pytest.fixture
async def tenant(following: Service) -> Service:
    return await following.new_tenant(search_scope=SearchScope.ANY)
