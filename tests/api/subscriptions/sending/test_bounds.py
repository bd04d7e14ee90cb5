"""Bounds of a subscription, and what a receiver is shown of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from api.subscriptions.counting import FULL, GAP
from api.subscriptions.secrets import OAuthClient, Sealed, seal
from store.changes.changes import Position
from store.changes.kinds import Kind
from store.subscriptions.records import Content, Status
from tests.api.subscriptions.sending.told import told
from tests.support.fhir import report
from tests.support.receiver import receiver
from tests.support.subscriptions import LAB, ROOT, bench, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from tests.support.receiver import Came


def answers(**told: Any) -> Any:
    return lambda _: web.Response(**told)


# --- bounds


async def test_notifications_are_bounded_in_events_and_bytes(database: Database) -> None:
    full = kept("full", content=Content.FULL_RESOURCE)
    async with told(database, full, kept("few", max_count=2), batch_max=4, bytes_max=4_000) as (on, at):
        for number in range(6):
            await on.change(report(f"r{number}", conclusion="x" * 1_500), Kind.CREATED)
        await on.count()
        await on.settle("few")
        assert [len(one.events) for one in at.came] == [2, 2, 2]
        at.came.clear()
        await on.settle("full")
        assert [number for number, _, _ in at.told] == [1, 2, 3, 4, 5, 6]
        assert all(len(one.body) < 6_000 for one in at.came)
        assert [len(one.json["entry"]) - 1 for one in at.came] == [len(one.events) for one in at.came]


async def test_a_queue_that_is_full_ends_the_subscription_and_says_so(database: Database) -> None:
    async with told(database, kept("s1"), kept("s2"), queue_max=3) as (on, _):
        for number in range(3):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        await on.settle("s2")
        await on.change(report("r3"), Kind.CREATED)
        await on.count()
        assert ((await on.get("s1")).status, (await on.get("s1")).reason) == (Status.OFF, FULL)
        assert (await on.get("s2")).progress.last == 4


async def test_who_asks_anew_behind_a_full_queue_hears_of_what_comes(database: Database) -> None:
    """Nothing that waited is sent, or ends it a second time; by its number it can be had."""
    async with told(database, kept(), queue_max=3) as (on, at):
        for number in range(4):
            await on.change(report(f"r{number}"), Kind.CREATED)
            await on.count()
        off = await on.get()
        assert (off.status, off.progress.waiting) == (Status.OFF, 0)
        anew = replace(off, version=2, status=Status.REQUESTED, reason="", start=await on.changes.head(LAB))
        assert await on.store.replace(anew, instead_of=1, anew=True)
        await on.change(report("r4"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert at.told == [(4, "DiagnosticReport/r4", "created")]
        assert [one.number for one in await on.told_to()] == [1, 2, 3, 4]


async def test_changes_that_were_lost_are_told_as_an_error(database: Database) -> None:
    async with told(database, kept()) as (on, _):
        on.changes.lost = True
        own = await on.outbox.take()
        assert own is not None
        on.changes.tell("DiagnosticReport/r1", Kind.CREATED)
        counted = await on.page(own, Position(0))
        assert (counted.position, counted.events) == (Position(1), {})
        assert ((await on.get()).status, (await on.get()).reason) == (Status.ERROR, GAP)
        await own.release()


async def test_events_that_are_no_longer_kept_do_not_hold_up_the_next_ones(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await database["outbox"].delete_many({"first": 1})
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert at.told == [(2, "DiagnosticReport/r2", "created")]


# --- authorisation at the receiver


async def test_a_receiver_is_shown_its_headers_and_a_token_of_its_own_server(database: Database) -> None:
    async with bench(database) as on, receiver() as at:
        tokens = iter(["first", "second"])

        def answer(came: Came) -> web.StreamResponse:
            if came.path == "/token":
                return web.json_response({"access_token": next(tokens), "expires_in": 100})
            return web.Response(status=401 if came.headers.get("authorization") == "Bearer first" else 200)

        at.answer = answer
        client = OAuthClient(str(at.server.make_url("/token")), "me", "s3cret", "push")
        sealed = seal(ROOT, f"{LAB}/s1", Sealed((("X-Route", "one"),), client))
        await on.store.create(kept(endpoint=at.url, sealed=sealed))
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.step()
        on.clock.move(seconds=10)
        await on.step()
        assert [one.path for one in at.came] == ["/token", "/hook", "/token", "/hook"]
        assert at.came[0].body == b"grant_type=client_credentials&scope=push"
        assert at.came[3].headers["authorization"] == "Bearer second"
        assert at.came[3].headers["x-route"] == "one"
        assert (await on.get()).progress.delivered == 1
        await on.store.rewind(LAB, "s1", 0)
        for answered, said in (
            ({"status": 400}, "no token: refused, status 400"),
            ({"text": "[]"}, "no token: its answer has no `access_token`"),
            ({"text": '{"access_token": "x", "expires_in": "nan"}'}, "no token: its answer"),
            ({"text": '{"access_token": null}'}, "no token: its answer"),
            ({"text": '{"access_token": ""}'}, "no token: its answer"),
            ({"text": '{"access_token": ""}'}, "no token: its answer"),  # Nor one that was kept.
        ):
            at.answer = answers(**answered)
            on.clock.move(hours=1)
            came = len(at.came)
            await on.step()
            assert [one.path for one in at.came[came:]] == ["/token"]
            assert said in (await on.get()).problem
        assert on.ports.circuits.open([await on.get()]) == 0, "the receiver itself was not asked"
        on.ports.metrics.measured([await on.get()], on.clock.now, circuits=0)
        waits = on.registry.get_sample_value("dod_subscription_oldest_waiting_seconds")
        assert waits is not None
        assert waits > 6 * 3_600, "whoever runs it hears of one whose token endpoint is down"
