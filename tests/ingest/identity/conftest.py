"""Services that the tests of identity share: one of a module, with a new tenant for each test, or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.tenancy import SearchScope
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service


@pytest.fixture(scope="module")
async def replicas(mongodb: str) -> AsyncIterator[tuple[Service, Service]]:
    async with opened_service(mongodb) as one, opened_service(mongodb) as other:
        yield one, other


@pytest.fixture(scope="module")
async def running(mongodb: str) -> AsyncIterator[Service]:
    async with opened_service(mongodb) as service:
        yield service


@pytest.fixture
async def lab(running: Service) -> Service:
    return await running.new_tenant(search_scope=SearchScope.ANY)
