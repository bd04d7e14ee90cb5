"""A database that may not be relied on is refused in clear words, at the start and later."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError, StartupError
from store.mongo.driver.client import connect
from store.mongo.fitness import Fitness, UnfitError, faults_at
from store.mongo.indexes import COLLECTIONS, INDEXES
from store.mongo.requirements import (
    MAKING,
    NO_PRIMARY,
    NOT_INITIATED,
    OLD,
    RIGHTS,
    STANDALONE,
    WRONG_CREDENTIALS,
    Right,
    faults_of,
    on,
)
from store.mongo.rights import FOLLOWING, privileges
from store.mongo.stores import opened
from store.settings import StoreSettings
from tests.support.mongods import SET, Client, as_user, guarded_set, standalone
from tests.support.ports import free_port
from tests.support.store import NOW, metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from store.mongo.rights import Role
    from store.stores import Stores
    from tests.support.mongods import Mongod

MEMBER = {"setName": SET, "isWritablePrimary": True, "maxWireVersion": 17, "localTime": NOW}
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({}, ()),
        ({"maxWireVersion": 21}, ()),
        ({"maxWireVersion": 13}, (OLD,)),
        ({"isWritablePrimary": False}, (NO_PRIMARY,)),
        ({"setName": None}, (STANDALONE,)),
        ({"setName": None, "isreplicaset": True, "isWritablePrimary": False}, (NOT_INITIATED,)),
        ({"setName": None, "msg": "isdbgrid"}, ()),
        ({"setName": None, "maxWireVersion": 9}, (STANDALONE, OLD)),
        ({"localTime": NOW - timedelta(seconds=30)}, ()),
        ({"localTime": NOW + timedelta(seconds=31)}, ()),  # It was asked for during a second.
    ],
)
def test_what_a_hello_shows(changed: dict[str, Any], faults: tuple[str, ...]) -> None:
    hello = {name: value for name, value in {**MEMBER, **changed}.items() if value is not None}
    after = NOW + timedelta(seconds=1)
    assert faults_of(hello, before=NOW, after=after, skew_seconds=30) == faults


@pytest.mark.parametrize(
    ("apart", "said"),
    [
        (DAY * 2, "2 days"),
        (-DAY, "24 hours"),
        (timedelta(minutes=3), "3 minutes"),
        (-timedelta(seconds=32), "32 s"),
    ],
)
def test_clocks_apart(apart: timedelta, said: str) -> None:
    hello = {**MEMBER, "localTime": NOW + apart}
    [fault] = faults_of(hello, before=NOW, after=NOW, skew_seconds=30)
    assert f"are {said}" in fault
    assert "DOD_CLOCK_SKEW_SECONDS (30)" in fault


def test_rights_are_tried_on_every_collection_there_is() -> None:
    assert {spec.collection for spec in INDEXES} <= set(COLLECTIONS)
    assert len(set(COLLECTIONS)) == len(COLLECTIONS)


@asynccontextmanager
async def opening(uri: str, *, wait_seconds: float = 0, **given: Any) -> AsyncIterator[Stores]:
    clock: Callable[[], datetime] = given.pop("wall_clock", lambda: datetime.now(UTC))
    settings = StoreSettings(**given)
    async with opened(
        settings, uri=uri, clock=lambda: NOW, metrics=metrics(), wait_seconds=wait_seconds, wall_clock=clock
    ) as stores:
        yield stores


async def refusal(uri: str, **given: Any) -> str:
    """All that is wrong, as the operator is told at the start."""
    with pytest.raises(StartupError) as refused:
        async with opening(uri, **given):
            pytest.fail("opened")
    return str(refused.value)


async def test_a_standalone_is_refused(tmp_path: Path) -> None:
    async with standalone(tmp_path) as alone:
        assert await refusal(alone.uri) == STANDALONE
        assert STANDALONE in await refusal(alone.uri, wall_clock=lambda: datetime.now(UTC) + DAY)
        # Nothing was made in it.
        async with Client(alone.uri) as client:
            assert "dod" not in await client.list_database_names()


async def test_a_set_that_was_never_initiated_is_refused(tmp_path: Path) -> None:
    async with standalone(tmp_path, "--replSet", SET) as member:
        assert await refusal(member.uri) == NOT_INITIATED


async def test_nobody_there_is_told_with_its_address_and_without_its_password() -> None:
    port = free_port()
    said = await refusal(f"mongodb://somebody:hush@127.0.0.1:{port}/?replicaSet={SET}")
    assert f"No MongoDB answers at 127.0.0.1:{port}" in said
    assert "refused" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    "uri", ["", "http://hush", "mongodb://a:hush@/x@:0", "mongodb://hush:99999999", "mongodb+srv://hush"]
)
async def test_what_is_no_connection_string_is_told_without_it(uri: str) -> None:
    said = await refusal(uri)
    assert "DOD_MONGODB_URI" in said or "No MongoDB answers" in said
    assert "a:hush" not in said


async def test_clocks_a_day_apart_are_refused(mongodb: str) -> None:
    for apart in (DAY, -DAY):
        said = await refusal(mongodb, wall_clock=lambda apart=apart: datetime.now(UTC) + apart)
        assert "clocks" in said
        assert "24 hours" in said


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongod]:
    """A MongoDB with users, and a database with all collections."""
    async with guarded_set(tmp_path_factory.mktemp("locked")) as member:
        async with opening(as_user(member), wait_seconds=10):
            pass
        yield member


ACTIONS = [right.action for right in (*RIGHTS, *MAKING)]


async def allow(member: Mongod, *actions: str, collections: tuple[str, ...] = ("",)) -> None:
    """The user `dod` may do just this."""
    async with Client(as_user(member)) as client:
        names = [one["user"] for one in (await client.admin.command("usersInfo"))["users"]]
        roles = [one["role"] for one in (await client.admin.command("rolesInfo", 1))["roles"]]
        privileges = [
            {"resource": {"db": "dod", "collection": one}, "actions": list(actions)} for one in collections
        ]
        change = "updateRole" if "some" in roles else "createRole"
        await client.admin.command({change: "some", "privileges": privileges, "roles": []})
        if "dod" not in names:
            await client.admin.command({"createUser": "dod", "pwd": "dod", "roles": ["some"]})


@pytest.mark.parametrize("lacking", ACTIONS)
async def test_each_right_that_is_missing_is_one_sentence(locked: Mongod, lacking: str) -> None:
    await allow(locked, *(one for one in ACTIONS if one != lacking))
    said = await refusal(as_user(locked, "dod", "dod"), wait_seconds=0)
    assert said.count("\n") == 0, said
    where = "the collection(s) resources" if lacking == FOLLOWING else "its collections"
    assert f"lacks the right `{lacking}` on {where} in the database dod" in said


async def test_all_that_is_missing_is_told_at_once(locked: Mongod) -> None:
    await allow(locked, "find")
    said = await refusal(as_user(locked, "dod", "dod"))
    assert [one for one in ACTIONS if f"`{one}`" in said] == [one for one in ACTIONS if one != "find"]


async def test_a_right_on_some_collections_names_the_others(locked: Mongod) -> None:
    await allow(locked, *ACTIONS, collections=COLLECTIONS[:-2])
    said = await refusal(as_user(locked, "dod", "dod"))
    assert f"`find` on the collection(s) {', '.join(sorted(COLLECTIONS[-2:]))}" in said


def without(actions: Any, lacking: str) -> list[str]:
    assert lacking in actions
    return [one for one in actions if one != lacking]


@pytest.mark.parametrize(
    ("role", "lacking"), [("all", "createIndex"), ("jobs", "dropIndex"), ("query", "listIndexes")]
)
async def test_rights_on_indexes_are_tried_on_each_collection(
    locked: Mongod, role: Role, lacking: str
) -> None:
    """A start that came as far as this collection told no more than that some right was missing."""
    one = COLLECTIONS[-2]
    resource = {"db": "dod", "collection": one}
    all_rights: list[Any] = [given for given in privileges(role, "dod") if given["resource"] != resource]
    [of_one] = [given for given in privileges(role, "dod") if given["resource"] == resource]
    all_rights.append({**of_one, "actions": without(of_one["actions"], lacking)})
    async with Client(as_user(locked)) as client:
        await client.admin.command({"createRole": f"{role}-but", "privileges": all_rights, "roles": []})
        await client.admin.command({"createUser": f"{role}-but", "pwd": "p", "roles": [f"{role}-but"]})
    [said] = await faults_at(as_user(locked, f"{role}-but", "p"), StoreSettings(), metrics(), role=role)
    assert f"lacks the right `{lacking}` on the collection(s) {one} in the database dod" in said


async def test_trying_rights_has_no_effect(locked: Mongod) -> None:
    async with Client(as_user(locked)) as client:
        database = client["untouched"]
        for name in COLLECTIONS[1:]:
            await database.create_collection(name)
        reached = connect(as_user(locked), StoreSettings())
        fitness = Fitness(reached["untouched"], settings=StoreSettings(), metrics=metrics())
        assert await fitness.faults() == ()
        reached.close()
        assert set(await database.list_collection_names()) == set(COLLECTIONS[1:])
        for name in COLLECTIONS:
            assert await database[name].count_documents({}) == 0
            assert set(await database[name].index_information()) <= {"_id_"}


async def test_where_nobody_signs_in_no_right_is_tried_one_by_one(
    mongodb: str, locked: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def noted(right: Right, collection: str) -> dict[str, Any]:
        tried.append(right.action)
        return on(right, collection)

    monkeypatch.setattr("store.mongo.fitness.on", noted)
    client = connect(mongodb, StoreSettings())
    assert await Fitness(client["dod"], settings=StoreSettings(), metrics=metrics()).faults() == ()
    client.close()
    assert tried == ["find"]
    # Nobody signs in where there is access control: each collection is tried.
    assert "lacks the right `find` on its collections" in await refusal(locked.uri)
    assert len(tried) > len(COLLECTIONS)


async def test_all_rights_are_enough(locked: Mongod) -> None:
    await allow(locked, *ACTIONS)
    async with opening(as_user(locked, "dod", "dod")) as stores:
        await stores.ping()
        await stores.access.secret("identities")


async def test_a_wrong_password_is_told(locked: Mongod) -> None:
    assert await refusal(as_user(locked, "dod", "hush")) == WRONG_CREDENTIALS


async def test_a_right_that_is_taken_away_makes_it_unfit_until_it_is_back(
    locked: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.mongo.fitness.RIGHTS_SECONDS", 0)
    monkeypatch.setattr("store.mongo.fitness.RIGHTS_AGAIN_SECONDS", 0)
    told: list[tuple[str, ...]] = []
    await allow(locked, *ACTIONS)
    client = connect(as_user(locked, "dod", "dod"), StoreSettings())
    fitness = Fitness(
        client["dod"],
        settings=StoreSettings(),
        metrics=metrics(),
        told=lambda found: told.append(tuple(found)),
    )
    await fitness.ping()
    await allow(locked, "find")
    with pytest.raises(UnfitError) as refused:
        await fitness.ping()
    assert refused.value.category is Category.UNAVAILABLE
    assert isinstance(refused.value, ServiceError)
    assert len(refused.value.reasons) == len(ACTIONS) - 1
    await allow(locked, *ACTIONS)
    await fitness.ping()
    assert [bool(one) for one in told] == [False, True, False]
    client.close()


async def test_indexes_can_be_made_with_the_rights_that_are_asked_for(locked: Mongod) -> None:
    async with Client(as_user(locked)) as client:
        await client.drop_database("dod")
    await allow(locked, *ACTIONS)
    async with opening(as_user(locked, "dod", "dod")):
        pass
