"""Random policies, holds, pushes, deletions and sweeps that break off anywhere: the store does what the
model says is stored, served and counted.

`RETENTION_ROUNDS` says how many worlds, `RETENTION_SEED` which to begin with; a failure names its own, and
`make soak-retention` runs many.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.retention.holds import MongoHolds
from store.mongo.retention.sweeping import MongoSweeping
from store.resources.pages import HistoryQuery
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Stored
from store.retention.holds import Hold, HoldKind
from store.retention.policy import CountedFrom, Policy, Rule
from store.settings import StoreSettings
from store.tenancy import Tenant
from tests.oracle.retention import Held, Kept, Model, Rules
from tests.support.fhir import coded, refers
from tests.support.service import Clock
from tests.support.store import (
    NOW,
    asked,
    ids,
    let,
    metrics,
    mongo_settling,
    mongo_store,
    prepared,
)
from tests.support.sweeping import retention_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.mongo.driver.client import Database
    from store.retention.receipts import Receipt

ROUNDS: Final = int(os.environ.get("RETENTION_ROUNDS", "4"))
SEED: Final = int(os.environ.get("RETENTION_SEED", "1"))
STEPS: Final = 40
SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"
CATEGORIES: Final = ("LAB", "RAD", "MB")
STATUSES: Final = ("final", "preliminary", "amended")
DAYS: Final = (1, 2, 5, 10, 30)
TYPES: Final = ("DiagnosticReport", "Observation", "Specimen", "Condition", "Patient", "Organization")


class Crash(Exception):  # noqa: N818 -- not an error of ours
    """The process ends here."""


class World:
    """Tenant, its model, and what happens to both."""

    def __init__(self, database: Database, seed: int) -> None:
        self.chance = Random(seed)
        self.database = database
        self.tenant = Tenant(f"t{seed}", "Production")
        self.clock = Clock(NOW)
        self.model = Model()
        self.store = mongo_store(database, clock=self.clock)
        settings = StoreSettings(mongodb_database=database.name, retention_batch=3)
        self.holds = MongoHolds(database, settings=settings, metrics=metrics())
        self.settings = settings
        self.open_as_of: Any = None
        self.receipts: list[Receipt] = []

    # --- what happens

    async def step(self) -> str:
        verb = self.chance.choices(
            [self.put, self.put_again, self.delete, self.wait, self.rule, self.hold, self.sweep],
            weights=[10, 3, 2, 5, 2, 2, 4],
        )[0]
        await verb()
        return verb.__name__

    def _content(self) -> dict[str, Any]:
        chance = self.chance
        kind = chance.choices(TYPES, weights=[5, 5, 2, 1, 2, 1])[0]
        number = chance.randrange(4)
        content: dict[str, Any] = {"resourceType": kind, "id": f"{kind[0].lower()}{number}"}
        if kind == "Patient":
            return {**content, "active": chance.random() < 0.5}
        if kind == "Organization":
            return {**content, "name": chance.choice(("one", "two"))}
        content["subject"] = refers(f"Patient/p{number % 2}")
        if kind == "Condition":
            return {**content, "code": coded(chance.choice("12"))}
        if kind == "Specimen":
            return {**content, "type": coded(chance.choice("12"))}
        content |= {"status": chance.choice(STATUSES), "code": coded("1")}
        content["category"] = [coded(chance.choice(CATEGORIES), SYSTEM)]
        if chance.random() < 0.7:
            day = NOW + timedelta(days=chance.randrange(-40, 20))
            content["effectiveDateTime"] = f"{day:%Y-%m-%d}"
        if chance.random() < 0.4:
            content["specimen"] = refers(f"Specimen/s{chance.randrange(4)}")
        observations = [refers(f"Observation/o{n}") for n in chance.sample(range(4), chance.randrange(3))]
        if kind == "DiagnosticReport":
            if chance.random() < 0.3:
                content["issued"] = f"{NOW - timedelta(days=chance.randrange(40)):%Y-%m-%dT00:00:00Z}"
            if "specimen" in content:
                content["specimen"] = [content["specimen"]]
            return content | ({"result": observations} if observations else {})
        # Observations refer upwards only, so that none is its own member.
        members = [one for one in observations if one["reference"] > f"Observation/{content['id']}"]
        return content | ({"hasMember": members} if members else {})

    async def put(self) -> None:
        some = [self._content() for _ in range(self.chance.randrange(1, 4))]
        for content in {f"{one['resourceType']}/{one['id']}": one for one in some}.values():
            await self._put(content)

    async def put_again(self) -> None:
        known = [one.content for one in self.model.all.values() if one.content is not None]
        if known:
            await self._put(self.chance.choice(known))

    async def _put(self, content: dict[str, Any]) -> None:
        self.clock.move(seconds=1)
        await self.store.put_many(self.tenant, [prepared(content)])
        self.model.put(content, self.clock())

    async def delete(self) -> None:
        if self.model.all:
            key = self.chance.choice(sorted(self.model.all))
            self.clock.move(seconds=1)
            await self.store.delete(self.tenant, ResourceKey(*key.split("/")))
            self.model.delete(key, self.clock())

    async def wait(self) -> None:
        self.clock.move(days=self.chance.choice((0.5, 1, 2, 4, 8)))

    async def rule(self) -> None:
        chance = self.chance
        since = ("received", "issued", "effective")
        lines = tuple(
            Kept(
                chance.choice((*DAYS, None)),
                chance.choice(since),
                chance.choice(("", "DiagnosticReport", "Observation", "Patient")),
                chance.choice(("", *CATEGORIES)),
                chance.choice(("", *STATUSES)),
            )
            for _ in range(chance.randrange(3))
        )
        default = Kept(chance.choice((*DAYS, None)), chance.choice(since))
        rules = Rules(default, lines, chance.choice((*DAYS, None)))
        made = [
            Rule(
                one.days,
                CountedFrom(one.since),
                one.type,
                (one.category.lower(),) if one.category else (),
                (one.status,) if one.status else (),
            )
            for one in rules.lines
        ]
        policy = Policy(
            made_at=self.clock(),
            keep_days=default.days,
            counted_from=CountedFrom(default.since),
            rules=tuple(made),
            superseded_days=rules.superseded,
        )
        await let(self.database, policy, tenant=self.tenant)
        settling = mongo_settling(self.database, clock=self.clock)
        while await settling.step(self.tenant, limit=chance.choice((2, 500))):
            pass
        self.model.change(rules)

    async def hold(self) -> None:
        chance, days = self.chance, self.chance.choice((1, 5, 20))
        kind = chance.choice(("tenant", "resource", "resource", "patient", "patient", "query"))
        subject = {
            "tenant": "",
            "resource": chance.choice(sorted(self.model.all) or ["DiagnosticReport/d0"]),
            "patient": f"Patient/p{chance.randrange(2)}",
            "query": chance.choice(STATUSES),
        }[kind]
        until = self.clock() + timedelta(days=1 if kind == "tenant" else days)
        named = f"DiagnosticReport?status={subject}" if kind == "query" else subject
        await self.holds.add(
            Hold(str(uuid4()), self.tenant, HoldKind(kind), named, "a test", self.clock(), "tests", until)
        )
        self.model.holds.append(Held(kind, subject, until))

    async def sweep(self, *, whole: bool = False) -> None:
        """By a new replica; it may die after any batch."""
        fatal = None if whole else self.chance.choice((None, 0, 1, 2, 5))
        resumed = self.open_as_of is not None
        as_of = self.open_as_of or self.clock()
        sweeping = MongoSweeping(
            self.database,
            settings=self.settings,
            clock=self.clock,
            metrics=metrics(),
            holds=self.holds,
            tenants=self._me,
        )
        left = [fatal]

        async def rest(_: float) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Crash

        sweeping.sweep = replace(sweeping.sweep, sleep=rest)
        try:
            receipts = await sweeping.run(
                tenant=self.tenant, pace=sweeping.pace(budget=False), metrics=retention_metrics()
            )
            assert receipts is not None
            self.receipts += receipts
            self.open_as_of = None
        except Crash:
            self.open_as_of = as_of
        finished = self.open_as_of is None
        there, past = await self._stored()
        self.model.swept(there, past, as_of, self.clock(), whole=finished and not resumed)

    async def _me(self) -> Sequence[Tenant]:
        return (self.tenant,)

    # --- what is there

    async def _stored(self) -> tuple[set[str], set[str]]:
        prefix = f"{self.tenant}/"
        found = []
        for name in (RESOURCES, HISTORY):
            cursor = self.database[name].find({"tenant": str(self.tenant)}, {"_id": 1})
            found.append({one["_id"].removeprefix(prefix) async for one in cursor})
        return found[0], found[1]

    async def agrees(self) -> None:
        now = self.clock()
        for key in sorted({*self.model.all, "DiagnosticReport/never"}):
            name = ResourceKey(*key.split("/"))
            expected = self.model.served(key, now)
            match await self.store.get(self.tenant, name):
                case Stored() as stored:
                    assert stored.version == expected, key
                case Gone() as gone:
                    assert -gone.version == (expected or 0), key
                case None:
                    assert expected is None, key
            told_of = await self.store.history(self.tenant, HistoryQuery(name.type, name.id))
            shown = self.model.history(key, now)
            assert [one.version.version for one in told_of.entries] == shown, key
            assert told_of.total == len(shown)
            for number in range(1, (self.model.all[key].number if key in self.model.all else 0) + 1):
                version = await self.store.get_version(self.tenant, name, number)
                assert (version is not None) == (number in shown), f"{key}/{number}"
        for kind in ("DiagnosticReport", "Observation"):
            of_type = await self.store.history(self.tenant, HistoryQuery(kind, count=1_000))
            told = Counter(one.version.key.id for one in of_type.entries)
            known = {k: self.model.history(k, now) for k in self.model.all if k.startswith(f"{kind}/")}
            assert told == Counter({k.partition("/")[2]: len(v) for k, v in known.items() if v})
            for patient in ("Patient/p0", "Patient/p1"):
                query = asked(f"patient={patient}", type=kind, count=1_000, now=now)
                page = await self.store.search(self.tenant, query)
                found = {f"{kind}/{one}" for one in ids(page.entries)}
                assert found == self.model.found(kind, patient, now)
                assert page.total == len(found)

    def receipts_agree(self) -> None:
        said: Counter[tuple[str, str]] = Counter()
        for receipt in self.receipts:
            assert {one.row.tenant for one in receipt.rows} <= {str(self.tenant)}
            for one in receipt.rows:
                said[one.row.type, one.row.reason] += one.count
        assert said == self.model.counted


@pytest.mark.slow
@pytest.mark.usefixtures("few_places")
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_the_store_forgets_what_the_model_forgets(database: Database, seed: int) -> None:
    world = World(database, seed)
    await world.rule()
    story = []
    for _ in range(STEPS):
        story.append(await world.step())
        try:
            await world.agrees()
        except AssertionError as error:
            error.add_note(f"seed {seed}, after {story}")
            raise
    await world.sweep(whole=True)
    await world.sweep(whole=True)
    await world.agrees()
    world.receipts_agree()
