"""Attempt at a group of writes: look up what is stored, decide, write, and keep companions in step.

The history gets a copy of each version before another takes its place, under the condition that it still is
that version: two writers never lose one another, and a crash in between leaves at most a copy of what is
still current. An attempt is one job of a driver thread, in plain calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import BulkWriteError

from store.errors import ServiceError
from store.mongo.driver.client import DURABLE, MAJORITY
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.resources.dependents import Dependents, Touched
from store.mongo.resources.kinship import parting
from store.mongo.resources.late_versions import LatePlacement, LateVersions, LateWrite
from store.mongo.resources.superseding import copy_in_server, copy_in_transaction
from store.mongo.resources.write_decision import (
    RACED,
    STANDING,
    Decision,
    Write,
    WriteContext,
    changing_among,
    decision_of,
    evidence_of,
    failure_of,
    held,
    operation_of,
    overtaken,
    superseding_among,
)
from store.resources.versions import Gone, PutResult
from store.retention.policy import NEVER
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

    from store.mongo.driver.client import Database, Document, Session
    from store.resources.versions import Provided


class WrittenCollections:
    """The collections that attempts read and write, and the rules that they share."""

    def __init__(self, database: Database) -> None:
        self.resources: Collection[Document] = database[RESOURCES].delegate
        # What is read outside of a transaction is durable on a majority.
        self.read = self.resources.with_options(read_concern=MAJORITY)
        self.write = self.resources.with_options(write_concern=DURABLE)
        self.history: Collection[Document] = database[HISTORY].delegate
        self.late_versions = LateVersions(database)
        self.dependents = Dependents(database)


@dataclass(slots=True)
class CommitAttempt:
    """Writes of one group, what was stored before them, and the decision on each."""

    collections: WrittenCollections
    writes: Sequence[Write]
    context: WriteContext
    again: bool = False
    """Look up every resource, also one whose id is new: an attempt before this one failed."""
    session: Session | None = None
    """Session of the transaction that the writes belong to; None: each write is durable by itself."""
    current: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Documents that were stored before, by `_id`, without their bytes."""
    decisions: dict[str, Decision] = field(default_factory=dict)
    """Decision on each write, by `_id`."""
    failed: Mapping[str, ServiceError] = field(default_factory=dict)
    """Refusals of the server, by `_id`; `RACED` for a write to try again."""
    conditions: Mapping[int, tuple[str, Provided]] = field(init=False)
    """Conditions of all writes, each with the `_id` of its document, by the identity of its object."""

    def __post_init__(self) -> None:
        self.conditions = _conditions_of(self.writes)

    def write_together(self) -> None:
        """Make all writes that are not refused, each durable by itself. In a driver thread."""
        self.current = self._look_up([write.id for write in self.writes if self._may_be_there(write)])
        self.decisions = self._decided()
        self._place_late()
        self._end_past()
        self._part()
        self.failed = self._apply()
        self._keep_dependents()

    def write_in_transaction(self) -> None:
        """Make all writes in the transaction, or none when one is refused. In a driver thread."""
        now = self.context.now
        self.current = self._look_up([write.id for write in self.writes])
        self.decisions = {
            name: held(decision, self.current.get(name), now) for name, decision in self._decided().items()
        }
        self._place_late()
        changing = changing_among(self.decisions)
        if not changing or any(isinstance(one.result, ServiceError) for one in self.decisions.values()):
            return
        self._end_past()
        self._part()
        changing = changing_among(self.decisions)
        resources, history = self.collections.resources, self.collections.history
        superseded = superseding_among(changing)
        if superseded:
            ends = self.context.ends_of_past()
            copy_in_transaction(resources, history, superseded, now, ends, session=self._plain_session())
        operations = [operation_of(name, decision) for name, decision in changing.items()]
        resources.bulk_write(operations, ordered=False, session=self._plain_session())
        self._keep_dependents()

    def results(self) -> dict[str, PutResult | Gone | ServiceError | None]:
        """Answer to each write, by `_id`; `RACED` for a write to try again."""
        return {name: self.failed.get(name, decision.result) for name, decision in self.decisions.items()}

    def _decided(self) -> dict[str, Decision]:
        """Decision on each write by what is stored; all that relies on one record is refused together."""
        holds = {
            mark: one.is_still(evidence_of(self.current.get(name), self.context.now))
            for mark, (name, one) in self.conditions.items()
        }
        return {
            write.id: decision_of(write, self.current.get(write.id), self.context)
            if all(holds[id(one)] for one in write.provided)
            else overtaken(write)
            for write in self.writes
        }

    def _may_be_there(self, write: Write) -> bool:
        return self.again or write.prepared is None or not write.prepared.fresh

    def _plain_session(self) -> ClientSession | None:
        return None if self.session is None else self.session.delegate

    def _look_up(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Current documents of these ids, without their bytes."""
        relied_on = (name for name, _ in self.conditions.values())
        ids = list(dict.fromkeys((*ids, *relied_on)))
        if not ids:
            return {}
        # Majority, so that `unchanged` and `exists` are said of what is durable. A writer that came too
        # late meets a duplicate key, and waits in the server until what it met is durable as well.
        collection = self.collections.read if self.session is None else self.collections.resources
        cursor = collection.find(
            {"_id": {"$in": ids}}, STANDING, batch_size=len(ids) + 1, session=self._plain_session()
        )
        return {document["_id"]: document for document in cursor}

    def _end_past(self) -> None:
        """End the past versions of resources that come back after their own end.

        Before they do: a crash in between would show what has expired, and nobody would look again.
        """
        back = []
        for write in self.writes:
            before = self.current.get(write.id, {})
            expired = before.get("expires_at", NEVER) <= self.context.now and not before.get("deleted")
            comes = self.decisions[write.id].document is not None
            if expired and comes and self.context.policy(write.tenant).version:
                back.append((write.tenant, write.key, before))
        if back:
            self.collections.late_versions.end(back, session=self._plain_session())

    def _part(self) -> None:
        """Take records that become another person's out of the kin of those that they were linked with.

        Before they do: a crash in between must not leave one person's reports under the number of another.
        """
        leaving = [write for write in self.writes if self.decisions[write.id].parts]
        if not leaving:
            return
        apart = [parting(one.tenant, one.key.id) for one in leaving]
        collection = self.collections.resources if self.session else self.collections.write
        collection.bulk_write(apart, ordered=False, session=self._plain_session())
        for write in self.writes:
            gone = {
                one.key.id for one in leaving if (one.tenant, one.key.type) == (write.tenant, write.key.type)
            }
            if gone:
                self.decisions[write.id] = self.decisions[write.id].without_kin(gone)

    def _place_late(self) -> None:
        """Decide on late writes: into the history, or in place of a version that is as old."""
        late = {
            write.id: LateWrite(
                write.tenant, write.prepared, self.current[write.id], self.context.policy(write.tenant)
            )
            for write in self.writes
            if write.prepared is not None and self.decisions[write.id].late
        }
        if not late:
            return
        placed = self.collections.late_versions.keep(late, self.context.now, session=self._plain_session())
        for write in self.writes:
            match placed.get(write.id):
                case LatePlacement.NOT:
                    self.decisions[write.id] = decision_of(
                        write, self.current[write.id], self.context, arrival=True
                    )
                case LatePlacement.RACED:
                    self.decisions[write.id] = Decision(RACED)
                case PutResult() as result:
                    self.decisions[write.id] = Decision(result)
                case None:
                    pass  # Not late.

    def _apply(self) -> dict[str, ServiceError]:
        """Write all that changes; the writes that failed, `RACED` for those to try again."""
        changing = changing_among(self.decisions)
        superseded = superseding_among(changing)
        if superseded:
            taken_back = [one.id for one in self.writes if one.prepared is not None and one.prepared.restores]
            ends = self.context.ends_of_past()
            copy_in_server(self.collections.write, superseded, self.context.now, ends, taken_back=taken_back)
        if not changing:
            return {}
        operations = [operation_of(name, decision) for name, decision in changing.items()]
        try:
            result = self.collections.write.bulk_write(operations, ordered=False)
            done: Mapping[str, Any] = result.bulk_api_result
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            done = error.details
        names = list(changing)
        failed = {names[e["index"]]: failure_of(e) for e in done["writeErrors"]}
        if done["nInserted"] + done["nMatched"] + done["nUpserted"] + len(failed) < len(names):
            # Some touch found another version than it was meant for; which one, the server does not say.
            failed |= {name: RACED for name, decision in changing.items() if decision.touch}
        return failed

    def _keep_dependents(self) -> None:
        """Let companions stay as long as the writes need them, where a tenant's data ends."""
        touched: dict[str, Touched] = {}
        for write in self.writes:
            if write.id not in self.failed and self.context.policy(write.tenant).version:
                of_tenant = touched.setdefault(str(write.tenant), Touched())
                of_tenant.write(write, self.current.get(write.id, {}), self.decisions[write.id])
        for tenant, one in touched.items():
            self.collections.dependents.tie(tenant, one, session=self._plain_session())


def _conditions_of(writes: Sequence[Write]) -> dict[int, tuple[str, Provided]]:
    """Conditions of writes, each with the `_id` of its document, by the identity of its object.

    The entries of a message share conditions, and each is looked at once.
    """
    found: dict[int, tuple[str, Provided]] = {}
    for write in writes:
        for one in write.provided:
            if id(one) not in found:
                found[id(one)] = document_id(str(write.tenant), *one.key), one
    return found
