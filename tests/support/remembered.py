"""Answers of the database that hold until somebody writes: tests see each change at once.

A service of the tests has no short memory of tenants, tokens and policies, for a test changes them and goes
on. To ask anew with each request takes half of what the request does. All clients of this process tell here
of their writes; once another process was started, all is asked each time until the test ends
(`DECISIONS.md#tests-remember`).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pymongo import message, monitoring
from typing_extensions import override

from api.http.app_keys import DOORKEEPER, POLICIES
from store.mongo.indexes import CLIENTS, RETENTION, SECRETS, TENANTS, TOKENS, VERIFICATIONS
from store.mongo.indexes import POLICIES as VERSIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from aiohttp import web

    from api.ttl_cache import TtlCache
    from store.mongo.rules.policies import Policies
    from store.retention.policy import TenantRetention

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")
ASKED_FOR: Final = {CLIENTS, VERSIONS, RETENTION, SECRETS, TENANTS, TOKENS, VERIFICATIONS}
ONE: Final = {"insert", "update", "delete", "findAndModify", "drop"}
"""Commands that change the collection that they name."""
WHOLE: Final = {"dropDatabase", "renameCollection", "commitTransaction", "abortTransaction", "bulkWrite"}


class Writes(monitoring.CommandListener):
    """Number of writes that began or ended, to collections whose answers are remembered."""

    def __init__(self) -> None:
        self.number = 0
        self.others = False
        """Whether another process may write too."""
        self._under_way: set[int] = set()

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        name = event.command_name
        if name in WHOLE or (name in ONE and event.command[name] in ASKED_FOR):
            self._under_way.add(event.request_id)
            self.number += 1

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._ended(event.request_id)

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._ended(event.request_id)

    def _ended(self, request: int) -> None:
        if request in self._under_way:
            self._under_way.discard(request)
            self.number += 1


WRITES: Final = Writes()
monitoring.register(WRITES)
# A driver that is listened to numbers its commands by Python's shared generator, in threads of its own: while
# Hypothesis draws, nobody else may use that.
setattr(message, "random", Random())  # noqa: B010 -- no name of the module's to assign to


def remembers(app: web.Application) -> None:
    """Let a service remember its tenants, tokens, clients and policies, as long as nobody writes any."""
    keeper = app[DOORKEEPER]
    caches: list[TtlCache[Any, Any]] = [keeper._principals, keeper._tenants, keeper._verifications]
    if keeper._tokens is not None:
        caches.append(keeper._tokens._clients)
    for cache in caches:
        cache._ask = _asked_once(cache._ask)
    policies: Any = app[POLICIES]
    remember_policies(policies)


def _asked_once(ask: Callable[[K], Awaitable[V | None]]) -> Callable[[K], Awaitable[V | None]]:
    known: dict[K, tuple[int, V]] = {}

    async def asked(key: K) -> V | None:
        number, kept = WRITES.number, known.get(key)
        if kept is not None and kept[0] == number and not WRITES.others:
            return kept[1]
        answer = await ask(key)
        if answer is not None:
            known[key] = (number, answer)
        return answer

    return asked


def remember_policies(policies: Policies) -> Policies:
    """The same policies, asked for once as long as nobody writes any."""
    ask = policies.of
    known: dict[str, tuple[int, TenantRetention]] = {}

    async def of(tenants: Iterable[str]) -> dict[str, TenantRetention]:
        wanted, number = set(tenants), WRITES.number
        there = {one: known[one] for one in wanted if one in known}
        fresh = {one: told for one, (at, told) in there.items() if at == number and not WRITES.others}
        missing = wanted - fresh.keys()
        if not missing:
            return fresh
        found = await ask(missing)
        known.update({one: (number, told) for one, told in found.items()})
        return fresh | found

    if not policies._remembered_seconds:
        policies.of = of  # type: ignore[method-assign]
    return policies
