"""Resources of an export, type by type: those that the searches find, and what comes along with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.search.answer import ask, begin, following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from api.commands.files.companions import Companions
    from api.search.answer import Asker, Search
    from store.resources.pages import Entry
    from store.resources.resource_keys import ResourceKey
    from store.search.parsing.context import SearchContext
    from store.search.parsing.query_text import Pair


@dataclass(slots=True)
class Exported:
    """Searches of an export by type, and its companions; None: nothing comes along."""

    asker: Asker
    searches: Mapping[str, Sequence[Pair]]
    context: SearchContext
    along: Companions | None = None
    _coming: Mapping[str, Sequence[ResourceKey]] = field(default_factory=dict)

    async def look(self) -> None:
        """Find out what comes along: a type is written as a whole."""
        if self.along is None:
            return
        for resource_type in self.searches:
            async for entry in self._entries(resource_type):
                self.along.add(entry.key, entry.raw)
        self._coming = await self.along.found()

    async def every(self) -> AsyncIterator[tuple[ResourceKey, bytes]]:
        """All resources, those of one type together."""
        for resource_type in dict.fromkeys((*self.searches, *self._coming)):
            if resource_type in self.searches:
                async for entry in self._entries(resource_type):
                    yield entry.key, entry.raw
            if self.along is not None:
                async for one in self.along.of(self._coming.get(resource_type, ())):
                    yield one

    def _entries(self, resource_type: str) -> AsyncIterator[Entry]:
        return entries(self.asker, resource_type, self.searches[resource_type], self.context)


async def entries(
    asker: Asker, resource_type: str, pairs: Sequence[Pair], context: SearchContext
) -> AsyncIterator[Entry]:
    """All resources that a search finds, page by page."""
    search: Search | None = begin(resource_type, pairs, context, link_seconds=1)
    while search is not None:
        answer = await ask(asker, search)
        for entry in answer.page.entries:
            yield entry
        search = following(answer)
