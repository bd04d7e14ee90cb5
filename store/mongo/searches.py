"""Searches on MongoDB: chains resolved, one find for the page, a count when it takes one.

All of one search runs in one turn of a driver thread (`turns`), so it is written as plain calls of the
synchronous driver that Motor is made of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import bson
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

from store.errors import Category, ServiceError
from store.mongo import includes
from store.mongo.guard import guarded
from store.mongo.indexes import RESOURCES
from store.mongo.lookups import resolve
from store.mongo.turns import Turns
from store.resources import Entry, Page, ResourceKey
from store.search.criteria import Position, Total
from store.search.plan import Explanation, drives, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.client import Database
    from store.search.criteria import SearchQuery
    from store.search.plan import FindPlan
    from store.settings import StoreSettings
    from store.tenancy import Tenant

MAJORITY: Final = ReadConcern("majority")
"""What is found is durable, and includes all that was acknowledged before the search began."""
QUICK_THREADS: Final = 4
"""For searches that an index entry drives. More threads only fight for the interpreter."""
QUICK_TOGETHER: Final = 8
"""Quick searches that share a turn: each takes well under a millisecond."""


class Searches:
    """The searching verbs of the port."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._database = database.delegate
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._quick = Turns(threads=QUICK_THREADS, jobs_max=QUICK_TOGETHER, name="search")
        # A search without a driving entry may run to its deadline: it holds up only its like.
        self._slow = Turns(threads=settings.pool_size // 4 or 1, jobs_max=1, name="search-scan")

    def close(self) -> None:
        """Begin no more searches."""
        self._quick.close()
        self._slow.close()

    async def search(self, tenant: Tenant, query: SearchQuery) -> Page:
        """See the port."""
        # Each round of includes is more finds: those that go on hold up only their like too.
        quick = drives(query) and not any(one.iterate for one in query.includes)
        turns = self._quick if quick else self._slow
        seconds = self._settings.search_timeout_seconds
        return await turns.run(lambda left: self._search(tenant, query, left), seconds=seconds)

    async def explain(self, tenant: Tenant, query: SearchQuery) -> Explanation:
        """See the port."""
        seconds = self._settings.search_timeout_seconds
        return await self._slow.run(lambda left: self._explain(tenant, query, left), seconds=seconds)

    # --- in a thread

    def _search(self, tenant: Tenant, query: SearchQuery, seconds: float) -> Page:
        with guarded(self._metrics, "search", seconds=seconds):
            find = self._plan(tenant, query)
            fields = {**_projection(find), **includes.projection(query.includes)}
            documents = self._find(find, fields) if query.count else []
            included = self._included(tenant, query, documents[: query.count]) if query.includes else ()
        page = _page(query, find, documents)
        if included:
            page = replace(page, included=included)
        if page.total is None and query.total is not Total.NONE:
            return replace(page, total=self._count(find, query, seconds))
        return page

    def _included(
        self, tenant: Tenant, query: SearchQuery, matches: list[dict[str, Any]]
    ) -> tuple[Entry, ...]:
        bound = self._settings.includes_max
        return includes.follow(self._find, tenant, query, matches, includes_max=bound, now=self._clock())

    def _explain(self, tenant: Tenant, query: SearchQuery, seconds: float) -> Explanation:
        with guarded(self._metrics, "explain", seconds=seconds):
            find = self._plan(tenant, query)
            command = _command(find, _projection(find))
            explained = self._database.command({"explain": command, "verbosity": "executionStats"})
        ran = explained["executionStats"]
        return Explanation(
            find.shape,
            find.hint,
            ran["totalDocsExamined"],
            ran["totalKeysExamined"],
            ran["nReturned"],
            tuple(_stages(explained["queryPlanner"]["winningPlan"])),
        )

    def _plan(self, tenant: Tenant, query: SearchQuery) -> FindPlan:
        now = self._clock()
        bound = self._settings.chain_matches_max
        resolved = resolve(
            self._find, self._aggregate, tenant, query.type, query.clauses, matches_max=bound, now=now
        )
        return plan(str(tenant), query, resolved=resolved, now=now)

    def _find(self, find: FindPlan, projection: Mapping[str, int]) -> list[dict[str, Any]]:
        """The documents of a find, their `raw` bytes untouched."""
        command = {**_command(find, projection), "readConcern": MAJORITY.document}
        try:
            cursor = self._database.command(command)["cursor"]
        except AutoReconnect:
            # As the driver does for its own finds; a primary may just have changed. The deadline stays.
            cursor = self._database.command(command)["cursor"]
        if cursor["id"]:
            self._database.command({"killCursors": RESOURCES, "cursors": [cursor["id"]]})
            return self._find_large(find, projection)
        found: list[dict[str, Any]] = cursor["firstBatch"]
        return found

    def _aggregate(self, pipeline: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        collection = self._database.get_collection(RESOURCES, read_concern=MAJORITY)
        return list(collection.aggregate(list(pipeline), hint="keyed"))

    def _find_large(self, find: FindPlan, projection: Mapping[str, int]) -> list[dict[str, Any]]:
        """The same when it does not fit into one reply of 16 MB."""
        collection = self._database.get_collection(RESOURCES, read_concern=MAJORITY)
        batches = collection.find_raw_batches(
            find.filter, projection, sort=list(find.sort), limit=find.limit, hint=find.hint
        )
        return [document for batch in batches for document in bson.decode_all(batch)]

    def _count(self, find: FindPlan, query: SearchQuery, seconds: float) -> int | None:
        """All matches; None when there are more than may be counted, or counting takes too long.

        A page can do without its total; an answer that is nothing else cannot.
        """
        bound = self._settings.count_max if query.total is Total.BOUNDED else None
        limit = {} if bound is None else {"limit": bound + 1}
        collection = self._database.get_collection(RESOURCES, read_concern=MAJORITY)
        try:
            with guarded(self._metrics, "count", seconds=seconds):
                count: int = collection.count_documents(find.matching, hint=find.hint, **limit)
        except ServiceError as error:
            if bound is not None and query.count and error.category is Category.TIMEOUT:
                return None
            raise
        return None if bound is not None and count > bound else count


def _command(find: FindPlan, projection: Mapping[str, int]) -> dict[str, Any]:
    # A plain command is a third cheaper than a cursor object for the same reply.
    command = {
        "find": RESOURCES,
        "filter": find.filter,
        "projection": projection,
        "limit": find.limit,
        "batchSize": find.limit,
        "hint": find.hint,
    }
    return {**command, "sort": dict(find.sort)} if find.sort else command


def _projection(find: FindPlan) -> dict[str, int]:
    return {"_id": 0, "id": 1, "raw": 1, **{name: 1 for name, _ in find.sort}}


def _page(query: SearchQuery, find: FindPlan, documents: list[dict[str, Any]]) -> Page:
    backwards = query.position is not None and query.position.backwards
    more = len(documents) > query.count
    shown = documents[: query.count]
    if backwards:
        shown.reverse()
    entries = tuple([Entry(ResourceKey(query.type, d["id"]), d["raw"]) for d in shown])
    first_and_all = query.position is None and not more and query.count > 0
    return Page(
        entries,
        total=len(entries) if first_and_all else None,
        next=_position(find, shown[-1]) if shown and (more or backwards) else None,
        previous=_position(find, shown[0], backwards=True)
        if shown and (more if backwards else query.position is not None)
        else None,
    )


def _position(find: FindPlan, document: Mapping[str, Any], *, backwards: bool = False) -> Position:
    return Position(tuple(_at(document, name) for name, _ in find.sort), backwards)


def _at(document: Mapping[str, Any], name: str) -> int | str:
    value: Any = document
    for part in name.split("."):
        value = value[part]
    return value  # type: ignore[no-any-return]  # a sort scalar is a number or a string


def _stages(winning: Mapping[str, Any]) -> list[str]:
    below = [winning["inputStage"]] if "inputStage" in winning else winning.get("inputStages", [])
    return [winning["stage"], *(stage for one in below for stage in _stages(one))]
