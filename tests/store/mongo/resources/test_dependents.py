"""Time for which resources are served: by the policy of their tenant, and with what needs them."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from store.mongo.indexes import RESOURCES
from store.mongo.resources.dependents import Dependents, needed
from store.mongo.resources.late_versions import LateVersions
from store.resources.pages import HistoryQuery
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Outcome, Stored
from store.retention.policy import NEVER, CountedFrom, Policy, Rule
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, found, let, mongo_store, prepared, put, put_one

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

DAY = timedelta(days=1)
KEEP = Policy(keep_days=10, superseded_days=3)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(database: Database, clock: Clock) -> MongoResources:
    return mongo_store(database, clock=clock)


def observation(id: str, **elements: Any) -> dict[str, Any]:
    return resource(
        "Observation", id, status="final", code=coded("1"), subject=refers("Patient/p1"), **elements
    )


def results(*ids: str) -> list[dict[str, str]]:
    return [refers(f"Observation/{one}") for one in ids]


async def ends(database: Database) -> dict[str, datetime]:
    """End of each current resource, by `Type/id`."""
    wanted = {"tenant": str(LAB), "type": {"$exists": True}}
    fields = {"type": 1, "id": 1, "expires_at": 1}
    return {f"{d['type']}/{d['id']}": d["expires_at"] async for d in database[RESOURCES].find(wanted, fields)}


async def days(database: Database) -> dict[str, int | None]:
    """The same in days from the beginning; None: without end."""
    return {key: None if at == NEVER else (at - NOW).days for key, at in (await ends(database)).items()}


async def test_without_a_policy_everything_stays(database: Database, store: MongoResources) -> None:
    await put(store, patient(), report(result=results("o")), observation("o"))
    assert set((await days(database)).values()) == {None}
    assert await database[RESOURCES].count_documents({"needs": {"$exists": True}}) == 0


async def test_what_has_expired_is_not_served_though_it_is_there(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    await put(store, patient(), report(result=results("o")), observation("o"))
    clock.now = NOW + 10 * DAY - timedelta(milliseconds=1)
    keys = [
        ResourceKey("DiagnosticReport", "r1"),
        ResourceKey("Patient", "p1"),
        ResourceKey("Observation", "o"),
    ]
    assert all([isinstance(await store.get(LAB, key), Stored) for key in keys])
    assert await found(store, "patient=p1") == ["r1"]
    clock.move(milliseconds=1)
    assert [await store.get(LAB, key) for key in keys] == [None, None, None]
    assert [await store.get_version(LAB, key, 1) for key in keys] == [None, None, None]
    assert await found(store, "patient=p1") == []
    assert (await store.history(LAB, HistoryQuery("DiagnosticReport"))).entries == ()
    assert await database[RESOURCES].count_documents({"tenant": str(LAB)}) == 3


async def test_another_tenant_keeps_everything(database: Database, store: MongoResources) -> None:
    await let(database, KEEP)
    await put(store, report(), tenant=OTHER)
    [kept] = await database[RESOURCES].find({"tenant": str(OTHER)}).to_list(None)
    assert (kept["expires_at"], "policy" in kept) == (NEVER, False)


@pytest.mark.parametrize("order", ["report first", "companions first", "together"])
async def test_companions_go_with_the_last_report_that_needs_them(
    database: Database, store: MongoResources, clock: Clock, order: str
) -> None:
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    main = report(result=results("panel"))
    others = [patient(), observation("panel", hasMember=results("member")), observation("member")]
    for some in {
        "report first": [[main], others],
        "companions first": [others, [main]],
        "together": [[main, *others]],
    }[order]:
        await put(store, *some)
    expected = dict.fromkeys(await days(database), 10)
    assert await days(database) == expected
    clock.now = NOW + 5 * DAY
    await put(store, report("r2", result=results("member")))
    assert await days(database) == {
        **expected,
        "DiagnosticReport/r2": 15,
        "Observation/member": 15,
        "Patient/p1": 15,
    }


async def test_what_nothing_ever_needed_goes_by_its_own_rule(
    database: Database, store: MongoResources
) -> None:
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    await put(store, report(), observation("alone"), patient("p2"), resource("Organization", "o", name="x"))
    assert await days(database) == {
        "DiagnosticReport/r1": 10,
        "Observation/alone": 100,
        "Patient/p2": 100,
        "Organization/o": None,
    }


async def test_a_rule_for_its_type_keeps_a_companion_longer(
    database: Database, store: MongoResources
) -> None:
    rules = (Rule(10, type="DiagnosticReport"), Rule(30, type="Observation"))
    await let(database, Policy(keep_days=5, rules=rules))
    await put(store, patient(), report(result=results("o")), observation("o"))
    assert await days(database) == {"DiagnosticReport/r1": 10, "Observation/o": 30, "Patient/p1": 30}


async def test_a_version_that_stays_shorter_takes_its_companions_along(
    database: Database, store: MongoResources
) -> None:
    await let(database, Policy(keep_days=100, counted_from=CountedFrom.EFFECTIVE))
    first = report(result=results("a", "b"), effectiveDateTime="2026-11-20")
    await put(store, patient(), observation("a"), observation("b"), first)
    assert set((await days(database)).values()) == {97}
    await put(store, report(result=results("a"), effectiveDateTime="2026-10-20"))
    assert await days(database) == {
        "DiagnosticReport/r1": 66,
        "Observation/a": 66,
        "Observation/b": 97,
        "Patient/p1": 97,  # Observation/b, which nothing needs any more, is about the patient still.
    }


async def test_a_companion_stored_anew_is_still_needed(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    await put(store, report(result=results("o")), observation("o"), patient())
    clock.now = NOW + 5 * DAY
    await put(store, observation("o", valueString="corrected"))
    assert await days(database) == {"DiagnosticReport/r1": 10, "Observation/o": 10, "Patient/p1": 10}


async def test_what_came_back_after_its_end_is_another(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    await put_one(store, report(conclusion="first"))
    clock.now = NOW + 9 * DAY
    await put_one(store, report(conclusion="second"))
    clock.now = NOW + 19 * DAY
    again = await put_one(store, report(conclusion="second"))
    assert (again.outcome, again.stored.version) == (Outcome.CREATED, 3)
    key = ResourceKey("DiagnosticReport", "r1")
    assert [await store.get_version(LAB, key, version) for version in (1, 2)] == [None, None]
    page = await store.history(LAB, HistoryQuery("DiagnosticReport", "r1"))
    assert [(one.version.version, one.created_by) for one in page.entries] == [(3, "PUT")]


async def test_a_companion_that_came_back_after_its_end_goes_by_its_own_rule(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    await put(store, report(result=results("o")), observation("o"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    clock.now = NOW + 20 * DAY
    assert await store.get(LAB, ResourceKey("Observation", "o")) is None
    await put(store, observation("o"))
    assert (await days(database))["Observation/o"] == 120


async def test_past_versions_go_by_their_own_age_and_with_their_resource(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, Policy(keep_days=10, superseded_days=30))
    await put_one(store, report(conclusion="first"))
    clock.now = NOW + DAY
    await put_one(store, report(conclusion="second"))
    key = ResourceKey("DiagnosticReport", "r1")

    async def shown() -> list[list[int]]:
        versions = []
        for query in (HistoryQuery(key.type, key.id), HistoryQuery(key.type)):
            page = await store.history(LAB, query)
            assert page.total == len(page.entries)
            versions.append([one.version.version for one in page.entries])
        return versions

    assert await shown() == [[2, 1], [2, 1]]
    clock.now = NOW + 11 * DAY
    assert await shown() == [[], []]
    assert await store.get_version(LAB, key, 1) is None

    await let(database, Policy(keep_days=100, superseded_days=3))
    await put_one(store, report(conclusion="third"))
    clock.move(days=2)
    await put_one(store, report(conclusion="fourth"))
    assert await shown() == [[4, 3], [4, 3]]
    clock.move(days=3)
    assert await shown() == [[4], [4]]


async def test_what_is_left_of_a_deleted_one_goes_as_a_past_version_does(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    await put_one(store, report())
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", "r1")), Gone)
    clock.move(days=3)
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "r1")) is None
    assert (await store.history(LAB, HistoryQuery("DiagnosticReport", "r1"))).entries == ()
    assert (await store.history(LAB, HistoryQuery("DiagnosticReport"))).entries == ()


async def test_in_a_transaction_it_is_the_same(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    await put(store, observation("o"), patient(), report(conclusion="first"))
    clock.now = NOW + 5 * DAY

    async def work(unit: Any) -> None:
        await put(unit, report(conclusion="second", result=results("o")))

    await store.atomically(work)
    assert await days(database) == {"DiagnosticReport/r1": 15, "Observation/o": 15, "Patient/p1": 15}
    [past] = await database["history"].find({"tenant": str(LAB)}).to_list(None)
    assert past["expires_at"] == clock.now + 3 * DAY
    assert past["of"] == ["patient=Patient/p1"]
    assert not {"needs", "own_until", "keys", "policy"} & past.keys()

    async def less(unit: Any) -> None:
        await put(unit, report(conclusion="third"), patient(gender="other"))

    clock.now = NOW + 7 * DAY
    await store.atomically(less)
    assert await days(database) == {"DiagnosticReport/r1": 17, "Observation/o": 15, "Patient/p1": 17}
    await put(store, report("r2", result=results("o")))
    await store.atomically(less)
    assert (await days(database))["Observation/o"] == 17


async def test_past_versions_say_whom_they_are_about(database: Database, store: MongoResources) -> None:
    subject = {"reference": "Patient/p1", "identifier": {"system": "urn:mrn", "value": "1&2"}}
    for text in ("first", "second"):
        await put_one(store, report(subject=subject, conclusion=text, category=[coded("LAB")]))
    [past] = await database["history"].find({"tenant": str(LAB)}).to_list(None)
    current = await database[RESOURCES].find_one({"tenant": str(LAB)})
    assert current is not None
    assert "patient=Patient/p1" in past["of"]
    assert r"patient.identifier=urn:mrn|1\&2" in past["of"]
    assert set(past["of"]) < set(current["keys"])
    assert not [one for one in past["of"] if "category" in one or "code" in one]


async def test_pushes_at_the_same_time_miss_nothing(database: Database, store: MongoResources) -> None:
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    other = mongo_store(database, clock=lambda: NOW)
    pushes = []
    for number in range(40):
        pushes.append(put_one(store, report(f"r{number}", f"p{number % 4}", result=results(f"o{number}"))))
        pushes.append(put_one(other, observation(f"o{number}")))
        pushes.append(put_one(other, patient(f"p{number % 4}", active=bool(number % 2))))
    await asyncio.gather(*pushes)
    by_type: dict[str, set[int | None]] = {}
    for key, value in (await days(database)).items():
        by_type.setdefault(key.partition("/")[0], set()).add(value)
    assert by_type == {"DiagnosticReport": {10}, "Observation": {10}, "Patient": {10}}


async def test_what_needed_it_for_longer_and_is_gone_counts_no_more(
    database: Database, store: MongoResources
) -> None:
    await let(database, Policy(keep_days=100, counted_from=CountedFrom.EFFECTIVE))
    observed = observation("o", effectiveDateTime="2026-10-02")
    await put(store, patient(), observed, report(result=results("o"), effectiveDateTime="2026-11-20"))
    assert await days(database) == {"DiagnosticReport/r1": 97, "Observation/o": 97, "Patient/p1": 97}
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    assert await days(database) == {"Observation/o": 97, "Patient/p1": 97}
    await put(store, report("r2", result=results("o"), effectiveDateTime="2026-10-12"))
    assert await days(database) == {"DiagnosticReport/r2": 58, "Observation/o": 58, "Patient/p1": 58}


async def test_new_ones_that_need_one_another(database: Database, store: MongoResources) -> None:
    """Fresh ids are known to nobody yet, so nothing is looked for that needs them."""
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    new = [patient(), observation("o"), report(result=results("o"))]
    await store.put_many(LAB, [prepared(one, fresh=True, posted=True) for one in new])
    assert set((await days(database)).values()) == {10}
    other = [patient("p2"), report("r2", "p2")]
    await store.put_each(LAB, [prepared(one, fresh=True, posted=True) for one in other])
    assert (await days(database))["Patient/p2"] == 10


async def test_longer_and_shorter_at_the_same_time(database: Database, store: MongoResources) -> None:
    """Reports get other ends, come and go, on two services: each ends with the last that needs it."""
    await let(database, Policy(keep_days=100, counted_from=CountedFrom.EFFECTIVE))
    other = mongo_store(database, clock=lambda: NOW)
    chance = random.Random(7)
    for turn in range(12):
        who = f"p{turn}"

        def version(name: str, who: str = who) -> dict[str, Any]:
            day = f"2026-{chance.randrange(9, 12):02}-{chance.randrange(1, 20):02}"
            seen = results(*chance.sample(["oa", "ob", "oc"], chance.randrange(3)))
            return report(f"{name}-{who}", who, effectiveDateTime=day, **({"result": seen} if seen else {}))

        writes: list[Any] = [put_one(store, patient(who))]
        for number in range(16):
            there = (store, other)[number % 2]
            writes.append(put_one(there, version(f"r{number % 5}")))
            if number % 6 == 5:
                writes.append(there.delete(LAB, ResourceKey("DiagnosticReport", f"r{number % 5}-{who}")))
            if number % 4 == 3:
                writes.append(put_one(there, patient(who, active=bool(number % 8))))
        chance.shuffle(writes)
        await asyncio.gather(*writes)
        found = [
            one["expires_at"]
            async for one in database[RESOURCES].find({"tenant": str(LAB), "needs": f"Patient/{who}"})
        ]
        [ended] = [at for key, at in (await ends(database)).items() if key == f"Patient/{who}"]
        assert ended == max(found)


async def test_what_needs_a_patient_for_longest_is_found_without_reading_the_others(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await let(database, KEEP)
    for number in range(60):
        clock.move(minutes=1)
        await put(store, report(f"r{number}"), observation(f"o{number}"))
    await put(store, patient())
    stages = needed(str(LAB), {"_id": f"{LAB}/Patient/p1"})
    explained = await database.command(
        "explain", {"aggregate": RESOURCES, "pipeline": stages, "cursor": {}}, verbosity="executionStats"
    )
    [lookup] = [stage for stage in explained["stages"] if "$lookup" in stage]
    assert lookup["indexesUsed"] == ["needing"]
    assert (lookup["totalDocsExamined"], lookup["collectionScans"]) == (0, 0)
    assert lookup["totalKeysExamined"] == 1


@pytest.mark.parametrize(("at", "step"), [(LateVersions, "end"), (Dependents, "tie")])
async def test_past_versions_of_what_expired_stay_away_wherever_a_write_breaks_off(
    database: Database, store: MongoResources, clock: Clock, at: type, step: str
) -> None:
    await let(database, Policy(keep_days=10))
    key = ResourceKey("DiagnosticReport", "r1")
    for text in ("first", "second"):
        await put(store, report(conclusion=text))
    clock.now += 11 * DAY
    assert await store.get_version(LAB, key, 1) is None

    with (
        patch.object(at, step, side_effect=RuntimeError("made up")) as broken,
        pytest.raises(RuntimeError, match="made up"),
    ):
        await put(store, report(conclusion="third"))
    assert broken.called
    assert [await store.get_version(LAB, key, number) for number in (1, 2)] == [None, None]
    await put(store, report(conclusion="third"))
    assert [await store.get_version(LAB, key, number) for number in (1, 2)] == [None, None]
    page = await store.history(LAB, HistoryQuery("DiagnosticReport", count=10))
    assert [one.version.version for one in page.entries] == [3]
