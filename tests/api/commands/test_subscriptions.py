"""`dod subscription`: who is told, and how that goes; without secrets, and without values of filters."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from api.commands.subscriptions import (
    Destination,
    deleted,
    listed,
    notified,
    paused,
    replayed,
    resumed,
    secret,
    shown,
)
from api.subscriptions.secrets import SECRET, seal, signing_secret, unseal
from store.changes.kinds import Kind
from store.errors import StartupError
from store.stores import Subscribing
from store.subscriptions.records import Form, Status
from store.tenancy import TenantSettings
from tests.support.edge import edge_stores
from tests.support.fhir import report
from tests.support.receiver import receiver
from tests.support.subscriptions import BASE, LAB, LOOPBACK, NOW, bench, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.stores import Stores
    from tests.support.subscriptions import Bench


def stores_of(on: Bench) -> Stores:
    async def ping() -> None:
        return

    nothing = edge_stores(on.access, ping)
    subscribing = Subscribing(on.store, on.outbox, nothing.subscribing.sides)
    return replace(nothing, subscribing=subscribing, changes=on.changes)


async def test_an_operator_sees_holds_back_and_sends_again(database: Database) -> None:
    async with bench(database) as on, receiver() as at:
        stores = stores_of(on)
        await on.store.create(kept(endpoint=at.url, filters=("patient.identifier=urn:mr|SECRET",)))
        assert await paused(stores, LAB, "s1") == "s1 is paused"
        own = kept("all", endpoint=at.url)
        await on.store.create(own)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.settle("all")
        [head, *rows] = await listed(stores, None, NOW)
        assert head[:3] == ("TENANT", "ID", "STATUS")
        assert [row[1:6] for row in rows] == [
            ("all", "active", "127.0.0.1", "1", "0"),
            ("s1", "paused", "127.0.0.1", "0", "0"),
        ]
        told = await shown(stores, LAB, "s1")
        assert "1 filters" in told
        assert "SECRET" not in told
        again = await replayed(stores, LAB, "s1", after=0)
        assert again == "s1: 0 events are delivered again once it goes on: `dod subscription resume`"
        assert await resumed(stores, LAB, "s1", now=NOW) == "s1 goes on"
        assert not (await on.get()).paused
        assert await replayed(stores, LAB, "all", after=0) == "all: 1 events are delivered again"
        assert "waits      1 created" in await shown(stores, LAB, "all")
        await on.settle("all")
        assert [number for number, _, _ in at.told] == [1, 1]
        with pytest.raises(StartupError, match="last event has the number 1"):
            await replayed(stores, LAB, "all", after=2)
        assert await deleted(stores, LAB, "all") == "all is deleted"
        for work in (shown, paused, deleted):
            with pytest.raises(StartupError, match="no subscription all"):
                await work(stores, LAB, "all")


async def test_what_was_given_up_or_is_off_is_asked_anew(database: Database) -> None:
    async with bench(database) as on, receiver() as at:
        stores = stores_of(on)
        for number, status in enumerate((Status.ERROR, Status.OFF)):
            await on.store.create(kept(f"s{number}", endpoint=at.url))
            await on.store.settle(await on.get(f"s{number}"), status, reason="given up")
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for number, heard in ((0, [1]), (1, [])):
            id = f"s{number}"
            assert await resumed(stores, LAB, id, now=NOW) == f"{id} goes on"
            one = await on.get(id)
            assert (one.status, one.reason, one.version) == (Status.REQUESTED, "", 2)
            at.came.clear()
            await on.settle(id)
            assert [event for event, _, _ in at.told] == heard
            assert (await on.get(id)).status is Status.ACTIVE
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        assert [(await on.get(f"s{number}")).progress.last for number in (0, 1)] == [2, 1]


async def test_secrets_are_printed_and_rotated(database: Database) -> None:
    async with bench(database) as on:
        stores = stores_of(on)
        await on.store.create(kept())
        root = await on.access.secret(SECRET)
        first = await secret(stores, LAB, "s1", now=NOW, overlap=None)
        assert first == signing_secret(root, f"{LAB}/s1", 1)
        second = await secret(stores, LAB, "s1", now=NOW, overlap=timedelta(hours=1))
        assert second == signing_secret(root, f"{LAB}/s1", 2) != first
        assert (await on.get()).earlier == ((1, NOW + timedelta(hours=1)),)


async def test_a_destination_of_upstreams_messages_is_set_up(database: Database) -> None:
    async with bench(database) as on:
        stores = stores_of(on)
        told = Destination(LAB, "http://127.0.0.1:9/hook", "t0ken", BASE)
        del on.access.settings[LAB]
        with pytest.raises(StartupError):
            await notified(stores, told, now=NOW, allowed=LOOPBACK)
        await on.access.put_tenant(TenantSettings(LAB))
        id = await notified(stores, told, now=NOW, allowed=LOOPBACK)
        assert re.fullmatch(r"[0-9a-f-]{36}", id)
        one = await on.get(id)
        assert (one.status, one.channel.form, one.holder) == (Status.REQUESTED, Form.LIGHT, None)
        root = await on.access.secret(SECRET)
        assert dict(unseal(root, one.name, one.sealed).headers)["verification-token"] == "t0ken"
        assert b"t0ken" not in one.sealed + seal(root, "other", unseal(root, one.name, one.sealed))
        for wrong, text in (
            (told._replace(url="https://10.0.0.1/"), "private"),
            (told._replace(topic="urn:x"), "topic"),
        ):
            with pytest.raises(StartupError, match=text):
                await notified(stores, wrong, now=NOW, allowed=LOOPBACK)
