"""Chromium that all tests of a worker share; each has a context of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.explorer import chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made
