"""A service that follows its own change feed and delivers, and what its clients do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from store.tenancy import SearchScope
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.receiver import Receiver
    from tests.support.service import Service

LOOPBACK = "127.0.0.0/8"


@asynccontextmanager
async def subscribing(mongodb: str, database: str, **changed: Any) -> AsyncIterator[Service]:
    """A service that follows the log and delivers, on a database of its own."""
    async with opened_service(
        mongodb,
        clock=RunningClock(),
        search_scope=SearchScope.ANY,
        **{
            "mongodb_database": database,
            "subscription_networks": LOOPBACK,
            "changes_look_seconds": 0.1,
            "subscription_linger_seconds": 0,
            "subscription_lease_seconds": 2,
            **changed,
        },
    ) as opened:
        yield opened


async def made(service: Service, *filters: str, **changed: Any) -> str:
    answer = await service.create(asked(*filters, **changed))
    assert answer.status == 201, answer.text
    return str(answer.body["id"])


async def active(at: Receiver, number: int = 1) -> None:
    await at.until(lambda: len(at.of("handshake")) >= number)
