"""`$changes`: who hears what, from where on, and how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prometheus_client import generate_latest

from api.http.app_keys import REGISTRY
from store.mongo.driver.client import connect
from store.mongo.indexes import CHANGES
from store.settings import StoreSettings
from store.tenancy import SearchScope
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.listening import listening
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Answer, Service

DATABASE = f"dod_{uuid4().hex[:12]}"
"""A feed of its own: what other tests have written since the last look may fill MongoDB's log."""
PLACE: dict[str, Any] = {"mongodb_database": DATABASE}
SHORT: dict[str, Any] = PLACE | {"changes_look_seconds": 0.02, "changes_wait_seconds": 20}


@pytest.fixture(scope="module")
async def followed(mongodb: str) -> AsyncIterator[Service]:
    """A service whose process follows the log."""
    async with opened_service(mongodb, **SHORT) as opened:
        yield opened


@pytest.fixture
async def told(followed: Service) -> Service:
    """A tenant of its own."""
    return await followed.new_tenant()


def observation(id: str, category: str = "laboratory") -> dict[str, Any]:
    return resource(
        "Observation",
        id,
        status="final",
        category=[coded(category, None)],
        code=coded("1-8"),
        subject=refers("Patient/p1"),
    )


async def now(service: Service) -> str:
    """Position from which on nothing has happened yet."""
    answer = await service.get("$changes")
    assert answer.body["changes"] == []
    return str(answer.body["next"])


async def heard(service: Service, since: str, count: int, more: str = "") -> list[dict[str, Any]]:
    """So many changes, by polls."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            answer = await service.get(f"$changes?since={since}{more}")
            assert answer.status == 200, answer.text
            found += answer.body["changes"]
            since = answer.body["next"]
    return found


def names(changes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["kind"], f"{one['type']}/{one['id']}") for one in changes]


async def test_a_poll_waits_for_a_change_and_goes_on_behind_it(told: Service) -> None:
    since = await now(told)
    waiting = asyncio.create_task(told.get(f"$changes?since={since}"))
    put = await told.put(report("r1", status="preliminary"))
    answer = await waiting
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    [change] = answer.body["changes"]
    assert change == {
        "tenant": str(told.tenant),
        "type": "DiagnosticReport",
        "id": "r1",
        "version": 1,
        "kind": "created",
        "at": put.body["meta"]["lastUpdated"],
        "position": answer.body["next"],
    }
    await told.put(report("r1", status="corrected"))
    await told.delete("DiagnosticReport/r1")
    after = await heard(told, answer.body["next"], 2)
    assert [(one["kind"], one["version"]) for one in after] == [("corrected", 2), ("deleted", 3)]
    again = await heard(told, after[0]["position"], 1)
    assert again == after[1:]
    rest = await told.get(f"$changes?since={after[1]['position']}&_wait=0")
    assert rest.body == {"changes": [], "next": after[1]["position"]}


async def test_types_and_counts_are_asked_for(told: Service) -> None:
    since = await now(told)
    await told.load(patient("p1"), report("r1"), observation("o1"), report("r2"))
    assert len(await heard(told, since, 4)) == 4
    assert names(await heard(told, since, 2, "&_type=DiagnosticReport")) == [
        ("created", "DiagnosticReport/r1"),
        ("created", "DiagnosticReport/r2"),
    ]
    answer = await told.get(f"$changes?since={since}&_type=Patient,Observation&_count=1")
    assert names(answer.body["changes"]) == [("created", "Patient/p1")]
    # A position moves past what is not told.
    answer = await told.get(f"$changes?since={answer.body['next']}&_type=DiagnosticReport&_count=1")
    assert names(answer.body["changes"]) == [("created", "DiagnosticReport/r1")]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("since=abc", 400, "`since`: is no token that this server gave"),
        ("since=%C3%A4", 400, "`since`: is no token"),
        ("_count=x", 400, "`_count`: must be a whole number"),
        ("_count=0", 400, "`_count`: must be a whole number, 1 or more"),
        ("_type=Subscription", 400, "no change is told of Subscription"),
        ("_wait=-1", 400, "`_wait`: must be a whole number"),
        ("_type=Raport", 400, "there is no such resource type here"),
        (
            "_since=2026",
            400,
            "`_since` is no parameter of `$changes`; `since`, `_type`, `_count`, `_wait` are",
        ),
        ("_type=Patient&_type=Patient", 400, "`_type`: may be given once"),
        ("since=MS45OTkuMQ", 410, "read all that is current by searches"),
    ],
)
async def test_refusals_teach(told: Service, query: str, status: int, said: str) -> None:
    answer = await told.get(f"$changes?{query}")
    assert answer.status == status
    assert said in answer.texts
    stream = await told.get(f"$changes?{query}", Accept="text/event-stream")
    assert (stream.status, said in stream.texts) == (status, True)


async def test_what_was_forgotten_is_410(told: Service, mongodb: str) -> None:
    since = await now(told)
    await told.load(report("r1"))
    [first] = await heard(told, since, 1)
    await told.load(report("r2"))
    await heard(told, first["position"], 1)
    client = connect(mongodb, StoreSettings())
    await client[DATABASE][CHANGES].delete_many({"tenant": str(told.tenant), "last": {"$lte": 1}})
    client.close()
    assert (await told.get(f"$changes?since={since}")).status == 410
    assert names(await heard(told, first["position"], 1)) == [("created", "DiagnosticReport/r2")]


# --- who hears what


async def test_a_credential_hears_of_types_that_it_may_read(told: Service) -> None:
    since = await now(told)
    await told.load(patient("p1"), report("r1"), observation("o1"))
    await heard(told, since, 3)
    reports = await told.with_token(scopes=["system/DiagnosticReport.rus"])
    assert names(await heard(reports, since, 1)) == [("created", "DiagnosticReport/r1")]
    assert (await reports.get(f"$changes?since={since}&_type=Patient")).status == 403
    assert (await reports.get(f"$changes?since={since}&_type=DiagnosticReport,Patient")).status == 403
    for scopes in (["system/*.rs"], ["system/*.cu"], ["system/DiagnosticReport.r"], ["dod/admin"]):
        refused = await (await told.with_token(scopes=scopes)).get(f"$changes?since={since}&_type=Patient")
        assert refused.status == 403, scopes
    # What is about no patient needs no right to update it.
    assert (await (await told.with_token(scopes=["system/*.rs"])).get("$changes")).status == 200
    # Of subscriptions no change is told: who may read nothing else has nothing to hear.
    assert (await (await told.with_token(scopes=["system/Subscription.cruds"])).get("$changes")).status == 403
    other = await told.new_tenant()
    foreign = await other.request("GET", told.base + "/$changes")
    assert foreign.status == 403


async def test_where_searches_need_no_patient_reading_is_enough(followed: Service) -> None:
    told = await followed.new_tenant(search_scope=SearchScope.ANY, scopes=["system/*.cruds"])
    reader = await told.with_token(scopes=["system/DiagnosticReport.rs"])
    since = await now(reader)
    await told.load(report("r1"), observation("o1"))
    assert names(await heard(reader, since, 1)) == [("created", "DiagnosticReport/r1")]


async def test_a_part_of_a_type_is_told_as_it_can_be_read(followed: Service) -> None:
    told = await followed.new_tenant(search_scope=SearchScope.ANY)
    narrow = await told.with_token(scopes=["system/Observation.rs?category=laboratory"])
    since = await now(narrow)
    await told.load(observation("o1"), observation("o2", "vital-signs"), observation("o3"))
    await told.delete("Observation/o3")
    await told.load(observation("o4"))
    await heard(told, since, 4)  # Of o3 its deletion alone is told.
    assert names(await heard(narrow, since, 2)) == [
        ("created", "Observation/o1"),
        ("created", "Observation/o4"),
    ]


async def test_nothing_of_an_erased_patient_is_told_but_that_it_is_erased(told: Service) -> None:
    since = await now(told)
    await told.load(patient("p1"), report("r1", subject=refers("Patient/p1")), patient("p2"))
    assert len(await heard(told, since, 3)) == 3
    officer = await told.with_token(scopes=["dod/purge", "system/*.cruds"])
    erased = await officer.request("POST", "Patient/p1/$purge", {**_reason()})
    assert erased.status in (200, 202), erased.text
    await heard(told, since, 3, "&_type=Patient,DiagnosticReport")
    found = await heard(told, since, 3)
    assert names(found)[0] == ("created", "Patient/p2")
    assert sorted(names(found)[1:]) == [("erased", "DiagnosticReport/r1"), ("erased", "Patient/p1")]


def _reason() -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": "asked for"}]}


async def test_polls_and_streams_are_on_record(told: Service) -> None:
    since = await now(told)
    async with listening(told, f"since={since}") as stream:
        await stream.positioned()
        officer = await told.with_token(scopes=["dod/audit"], client="officer")
        entries = (await officer.get("AuditEvent?_count=10")).body["entry"]
    assert sum("$changes" in str(entry) for entry in entries) == 2


async def test_who_is_admitted_no_longer_hears_nothing_of_what_comes_then(
    told: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.interactions.changes.listening.ADMITTED_SECONDS", 0.0)
    since = await now(told)
    guest = await told.with_token(scopes=["system/*.cruds"], client="late guest")
    polled = asyncio.create_task(guest.get(f"$changes?since={since}"))
    async with listening(guest, f"since={since}") as stream:
        await stream.positioned()
        [grant] = [one for one in await told.access.grants() if one.client == "late guest"]
        await told.access.revoke(grant.digest)
        await told.load(report("r1"))
        assert await stream.event() is None
    answer = await polled
    assert (answer.status, answer.issues) == (401, [("error", "login")])


# --- streams


async def test_a_stream_tells_each_change_with_its_position(told: Service) -> None:
    async with listening(told) as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        start = await stream.positioned()
        await told.load(report("r1"), report("r2"))
        events = [await stream.event(), await stream.event()]
    assert [(name, one["id"], one["kind"]) for name, one in filter(None, events)] == [
        ("message", "r1", "created"),
        ("message", "r2", "created"),
    ]
    first = events[0]
    assert first is not None
    assert first[1]["position"] != start
    async with listening(told, f"since={start}", Last_Event_ID=first[1]["position"]) as stream:
        again = await stream.event()
    assert again == events[1]


async def test_a_stream_that_is_cut_before_its_first_change_goes_on_with_that_change(told: Service) -> None:
    since = await now(told)
    await told.load(report("r1"))
    missed = await heard(told, since, 1)
    async with listening(told, f"since={since}") as stream:
        cut = await stream.positioned()
    assert await heard(told, cut, 1) == missed


async def test_two_replicas_tell_the_same_from_the_same_position(told: Service, mongodb: str) -> None:
    since = await now(told)
    async with opened_service(mongodb, **PLACE) as second:
        other = type(told)(second.client, second.clock, told.tenant, told.headers)
        async with listening(told, f"since={since}") as one, listening(other, f"since={since}") as two:
            await told.load(report("r1"))
            assert await one.event() == await two.event()
        third = await heard(other, since, 1)
    assert third == await heard(told, since, 1)


async def test_a_stream_ends_with_its_token(told: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.interactions.changes.change_stream.HEARTBEAT_SECONDS", 0.05)
    guest = await told.with_token(scopes=["system/*.cruds"], client="guest")
    async with listening(guest) as stream:
        await stream.positioned()
        [grant] = [one for one in await told.access.grants() if one.client == "guest"]
        await told.access.revoke(grant.digest)
        assert await stream.event() is None


async def test_a_stream_ends_when_its_time_is_up_and_with_the_process(mongodb: str) -> None:
    async with (
        opened_service(mongodb, **SHORT, changes_stream_seconds=1) as brief,
        listening(brief) as stream,
    ):
        await stream.positioned()
        assert await stream.event() is None
    async with opened_service(mongodb, **SHORT) as ending:
        since = await now(ending)
        polled = asyncio.create_task(ending.get(f"$changes?since={since}"))
        async with listening(ending) as stream:
            await stream.positioned()
            app = ending.client.app
            assert app is not None
            await app.shutdown()
            assert await stream.event() is None
        answer: Answer = await polled
        assert answer.body == {"changes": [], "next": since}


async def test_listeners_are_counted_and_bounded(mongodb: str) -> None:
    async with opened_service(mongodb, **SHORT, changes_listeners_max=4) as service:
        mine = await service.with_token(scopes=["system/*.cruds"], client="mine")
        async with listening(mine) as one, listening(mine) as two:
            await one.positioned()
            await two.positioned()
            refused = await mine.get("$changes")
            assert (refused.status, refused.issues[0][1]) == (429, "throttled")
            assert (await service.get("$changes")).status == 200
            app = service.client.app
            assert app is not None
            assert "dod_changes_listeners 2.0" in generate_latest(app[REGISTRY]).decode()
        # A client that has gone is noticed when something is sent to it.
        await service.load(report("r1"))
        async with asyncio.timeout(30):
            while (answer := await mine.get("$changes")).status == 429:
                assert answer.issues[0][1] == "throttled"
