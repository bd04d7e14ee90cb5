"""The readiness of this process: started, not draining, and a database that answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api.ttl_cache import TtlCache
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LOG: Final = logging.getLogger("api.health")
PING_SECONDS: Final = 2.0
"""Time for which a good ping counts. Probes come from several sides; the database is asked once."""


@dataclass(slots=True)
class Readiness:
    """Whether traffic should come here: started, not draining, and the database answers."""

    started: bool = False
    draining: bool = False
    reasons: tuple[str, ...] = ()
    """Faults of the database, a sentence each: no value, user or password."""
    _pings: TtlCache[str, bool] | None = None

    def told(self, reasons: Sequence[str]) -> None:
        """Remember what is wrong with the database from now on."""
        self.reasons = tuple(reasons)

    def watch(self, ping: Callable[[], Awaitable[None]]) -> None:
        """Ask this database from now on."""

        async def ask(_: str) -> bool:
            await ping()
            return True

        self._pings = TtlCache(ask, seconds=PING_SECONDS, size_max=1)

    async def state(self) -> dict[str, bool]:
        """State that `/readyz` tells; `ready` is the answer, the others are why."""
        state = {
            "started": self.started,
            "serving": not self.draining,
            "database": await self._database(),
        }
        return {"ready": all(state.values()), **state}

    async def _database(self) -> bool:
        if self._pings is None:
            return False
        try:
            return bool(await self._pings.get("ping"))
        except ServiceError as error:
            LOG.warning("the database does not answer", extra={"category": error.category.value})
            return False
