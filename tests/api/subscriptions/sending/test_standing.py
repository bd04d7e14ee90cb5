"""A subscription whose tenant, scopes or rules changed since it was made; and one that leads to too much."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from api.subscriptions.holders import LOST
from api.subscriptions.secrets import OAuthClient, Sealed, seal
from api.subscriptions.standing import TOO_MUCH, UNBOUNDED
from store.changes.kinds import Kind
from store.clients import Client
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.subscriptions.records import Content, Form, Holder, Status
from store.tenancy import SearchScope, TenantSettings
from tests.api.subscriptions.sending.told import told
from tests.support.fhir import patient, report
from tests.support.subscriptions import LAB, NOW, ROOT, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from tests.support.receiver import Came

APP = Holder("app", "key k1", ("system/*.rs",), NOW)
CLIENT = Client("app", "", (LAB,), ("system/*.rs",), NOW, NOW - timedelta(days=1), revision=1)
LABORATORY = [{"coding": [{"code": "laboratory"}]}]


async def test_events_that_wait_are_told_within_the_scopes_of_now(database: Database) -> None:
    """A scope that is cut to a part of the type: of what is outside not even a name is told any more."""
    async with told(database, kept(holder=APP)) as (on, at):
        on.clients.kept["app"] = CLIENT
        await on.change(report("ours", category=LABORATORY), Kind.CREATED)
        await on.change(report("theirs"), Kind.CREATED)
        await on.count()
        part = ("system/DiagnosticReport.rs?category=laboratory",)
        on.clients.kept["app"] = replace(CLIENT, scopes=part)
        await on.settle()
        assert at.told == [(1, "DiagnosticReport/ours", "created"), (2, "", "")]
        assert all(b"theirs" not in one.body for one in at.came)


async def test_a_chain_into_what_is_no_longer_within_the_scopes_ends_the_subscription(
    database: Database,
) -> None:
    """A list of reports would tell whose they are."""
    chained = kept(holder=APP, filters=("patient.family=Smith",))
    async with told(database, chained) as (on, at):
        on.clients.kept["app"] = replace(CLIENT, scopes=("system/DiagnosticReport.rs",))
        await on.change(patient("p1", name=[{"family": "Smith"}]), Kind.CREATED)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert ((await on.get()).status, (await on.get()).reason) == (Status.ERROR, LOST)
        assert at.came == []


async def test_a_tenant_that_asks_for_a_patient_by_now_ends_what_names_none(database: Database) -> None:
    some = (kept("all"), kept("named", filters=("patient=Patient/p1",)), kept("operator", holder=None))
    async with told(database, *some) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        on.access.settings[LAB] = TenantSettings(LAB, SearchScope.PATIENT)
        for name in ("all", "named", "operator"):
            await on.settle(name)
        assert ((await on.get("all")).status, (await on.get("all")).reason) == (Status.ERROR, UNBOUNDED)
        assert len(at.came) == 2, "the operator reaches everything"


@pytest.mark.parametrize("form", Form)
async def test_a_tenant_that_was_closed_hears_nothing_more(database: Database, form: Form) -> None:
    async with told(database, kept(holder=None, form=form, content=Content.FULL_RESOURCE)) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        del on.access.settings[LAB]
        await on.settle()
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        assert ((await on.get()).status, (await on.get()).reason) == (Status.ERROR, LOST)
        assert at.came == []


async def test_filters_that_lead_to_too_much_hold_up_nobody_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters led to few when they were made; a search with them is refused by now."""
    some = [
        kept("much", filters=("patient.family=s",)),
        kept("fine"),
        kept("full", content=Content.FULL_RESOURCE),
    ]

    async def refuses(*_: Any, **__: Any) -> Any:
        raise ServiceError(Category.INCORRECT, Issue("too-costly", "leads to too many"))

    async with told(database, *some) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        with monkeypatch.context() as full:
            full.setattr(on.resources, "search", refuses)
            await on.count()
            await on.settle("full")
        await on.settle("fine")
        assert at.told == [(1, "DiagnosticReport/r1", "created")]
        for name in ("much", "full"):
            assert ((await on.get(name)).status, (await on.get(name)).reason) == (Status.ERROR, TOO_MUCH)


async def test_a_filter_that_takes_too_long_again_and_again_holds_up_nobody_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: Any, **__: Any) -> Any:
        raise ServiceError(Category.TIMEOUT)

    async with told(database, kept("slow", filters=("patient.family=s",)), kept("fine")) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        monkeypatch.setattr(on.resources, "search", late)
        own = await on.outbox.take()
        assert own is not None
        for _ in range(2):
            with pytest.raises(ServiceError):  # The database may be away.
                await on.count(delivering=own)
        await on.count(delivering=own)
        assert ((await on.get("slow")).status, (await on.get("slow")).reason) == (Status.ERROR, TOO_MUCH)
        await on.settle("fine")
        assert at.told == [(1, "DiagnosticReport/r1", "created")]
        await own.release()


async def test_content_is_read_behind_a_slow_server_of_tokens(database: Database) -> None:
    """A report that is erased while it makes us wait is not sent."""
    async with told(database) as (on, at):
        client = OAuthClient(str(at.server.make_url("/token")), "me", "s3cret")
        sealed = seal(ROOT, f"{LAB}/s1", Sealed((), client))
        await on.store.create(kept(endpoint=at.url, sealed=sealed, content=Content.FULL_RESOURCE))
        await on.change(report("r1", conclusion="Erased-Name"), Kind.CREATED)
        await on.count()

        def answer(came: Came) -> web.StreamResponse:
            if came.path == "/token":
                on.database.delegate["resources"].delete_one({"id": "r1"})
                return web.json_response({"access_token": "t"})
            return web.Response()

        at.answer = answer
        await on.settle()
        assert [one.path for one in at.came] == ["/token", "/hook"]
        assert b"Erased-Name" not in at.came[-1].body


async def test_a_clock_that_is_set_holds_up_and_gives_up_nobody(database: Database) -> None:
    some = [kept("events"), kept("beats", heartbeat_seconds=60, filters=("status=partial",))]
    async with told(database, *some) as (on, at):
        at.answer = lambda _: web.Response(status=500)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for _ in range(3):
            on.clock.now = (await on.step("events")).at or on.clock.now
        on.clock.move(days=2)
        assert (await on.step("events")).at is not None, "it was asked a few times in all"
        assert (await on.get("events")).status is Status.ACTIVE
        on.clock.move(days=-3)
        at.answer = lambda _: web.Response()
        at.came.clear()
        await on.settle("events")
        assert at.told == [(1, "DiagnosticReport/r1", "created")], "at once, and not in three days"
        at.came.clear()
        await on.settle("beats")
        assert [one.kind for one in at.came] == ["heartbeat"]


@pytest.mark.parametrize("form", [Form.TOPIC, Form.LIGHT])
async def test_what_does_not_fit_into_a_notification_is_sent_behind_it_at_once(
    database: Database, form: Form
) -> None:
    """Only what may share the next notification is waited for: else a queue grows faster than it is told."""
    async with told(database, kept(holder=None, form=form), batch_max=2) as (on, at):
        for number in range(5):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        waited = [(await on.step()).sent for _ in range(3 if form is Form.TOPIC else 5)]
        assert waited == ([False, True, True] if form is Form.TOPIC else [False, False, False, False, True])
        assert (await on.get()).progress.waiting == 0
        assert len(at.came) == len(waited)
