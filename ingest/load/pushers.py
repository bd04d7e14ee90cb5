"""Ways in which a load pushes a body: here, or wherever else the same may be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from ingest.load.bodies import pushed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.feeds.sources import Source
    from ingest.load.files import Place
    from ingest.load.results import Result
    from ingest.writes.push_context import PushContext


class Pusher(Protocol):
    """Pushes bodies, several at once."""

    async def push(self, place: Place, body: bytes) -> Result:
        """Outcomes of one body. Raises ServiceError when nothing is known of it and it must be pushed again,
        StartupError when no body can be pushed any more.
        """


class Here(Pusher):
    """Pushes in this process."""

    def __init__(self, ctx: PushContext, sources: Sequence[Source] = ()) -> None:
        self._ctx = ctx
        self._sources = sources

    @override
    async def push(self, place: Place, body: bytes) -> Result:
        return await pushed(self._ctx, place, body, self._sources)
