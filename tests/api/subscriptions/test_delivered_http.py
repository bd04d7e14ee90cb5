"""Reports told to subscribers: a service that follows its own change feed, and receivers beside it."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import ClientSession
from standardwebhooks import Webhook

from api.subscriptions.app_keys import SUBSCRIPTIONS
from store.subscriptions.records import Status
from tests.api.subscriptions.subscribing import active, made
from tests.support.fhir import identified, patient, report
from tests.support.ports import free_port
from tests.support.receiver import receiver
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from tests.support.service import Service

PAGE = Path(__file__).parents[3] / "docs" / "subscriptions.md"


async def test_a_report_is_told_signed_and_can_be_read(tenant: Service) -> None:
    async with receiver() as at:
        id = await made(tenant, endpoint=at.url, headers=("Authorization: Bearer theirs",))
        await active(at)
        secret = (await tenant.request("POST", f"Subscription/{id}/$signing-secret")).body
        webhook = Webhook(secret["parameter"][0]["valueString"])
        await tenant.load(report("r1"), {**report("r1"), "status": "corrected"})
        await tenant.delete("DiagnosticReport/r1")
        await at.until(lambda: len(at.told) >= 3)
        assert [number for number, _, _ in at.told] == [1, 2, 3]
        # Of what was deleted before it was sent there is the number alone.
        assert at.told[-1] == (3, "DiagnosticReport/r1", "deleted")
        told = [change for _, _, change in at.told if change]
        assert told in (["created", "corrected", "deleted"], ["created", "deleted"], ["deleted"])
        for came in at.came:
            webhook.verify(came.body, dict(came.headers))
            assert came.headers["authorization"] == "Bearer theirs"
        read = await tenant.get(f"Subscription/{id}")
        assert (read.body["status"], read.body["channel"]["header"]) == ("active", ["Authorization: ***"])
        assert "theirs" not in read.text


async def test_a_subscriber_hears_of_its_patient_and_tenant_alone(following: Service) -> None:
    ours, theirs = await following.new_tenant(), await following.new_tenant()
    async with receiver() as at, receiver() as other:
        await made(ours, "patient.identifier=urn:mr|7", endpoint=at.url, content="full-resource")
        await made(theirs, "patient.identifier=urn:mr|7", endpoint=other.url)
        await active(at)
        await active(other)
        await ours.load(
            patient("p1", identified("urn:mr", "7")),
            patient("p2", identified("urn:mr", "8")),
            report("r2", "p2", conclusion="another patient's"),
            report("r1", "p1"),
        )
        await at.until(lambda: bool(at.told))
        assert at.told == [(1, "DiagnosticReport/r1", "created")]
        assert all(b"another" not in one.body for one in at.came)
        assert other.told == []


async def test_a_revoked_token_hears_nothing_more(tenant: Service) -> None:
    async with receiver() as at:
        subscriber = await tenant.with_token(scopes=("system/*.cruds",), client="app")
        id = await made(subscriber, endpoint=at.url)
        await active(at)
        await tenant.load(report("r1"))
        await at.until(lambda: len(at.told) == 1)
        for grant in await tenant.access.grants():
            if grant.client == "app" and tenant.tenant in grant.tenants:
                await tenant.access.revoke(grant.digest)
        await tenant.load(report("r2"))
        admin = await tenant.with_token(scopes=("system/*.cruds", "dod/admin"), client="admin")
        async with receiver() as another:
            await made(tenant, endpoint=another.url)
            await active(another)
            await tenant.load(report("r3"))
            await another.until(lambda: bool(another.told))
        read = await admin.get(f"Subscription/{id}")
        assert len(at.told) == 1
        while read.body["status"] != "error":
            read = await admin.get(f"Subscription/{id}")
        assert "revoked" in read.body["error"]


async def test_the_receiver_of_the_page_checks_signatures_and_says_what_it_hears(tenant: Service) -> None:
    text = PAGE.read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 22
    port = str(free_port())
    endpoint = f"http://127.0.0.1:{port}/hook"
    off = {**asked(endpoint=endpoint), "id": "page", "status": "off"}
    assert (await tenant.put(off)).status == 201
    secret = (await tenant.request("POST", "Subscription/page/$signing-secret")).body
    environment = {"PORT": port, "WEBHOOK_SECRET": secret["parameter"][0]["valueString"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), env=environment, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not listens(int(port)):  # noqa: ASYNC110 -- another process tells of nothing
                await asyncio.sleep(0.01)
            forged = await post(endpoint, b'{"entry": []}', dict.fromkeys(HEADERS, "1"))
            assert forged == 401
            assert (await tenant.put({**off, "status": "requested"})).status == 200
            while (await tenant.get("Subscription/page")).body["status"] != "active":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await tenant.load(report("r1"))
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
        assert "'event-number': '1'" in line
        assert "DiagnosticReport/r1" in line
    finally:
        process.kill()
        await process.wait()


HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    async with ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return response.status


async def test_an_erasure_reaches_subscriptions_that_name_the_patient(tenant: Service) -> None:
    """Subscribers that knew of a report hear that it was erased; then nothing of the patient is left."""
    async with receiver() as at:
        number = f"SECRET-{uuid4().hex[:6]}"
        asked_for = asked(f"patient.identifier=urn:mr%7C{number}", endpoint=at.url, reason=f"for {number}")
        for id, status in (("named", "requested"), ("ended", "off")):
            assert (await tenant.put({**asked_for, "id": id, "status": status})).status == 201
        store = tenant._app[SUBSCRIPTIONS]
        ended = await store.get(tenant.tenant, "ended")
        assert ended is not None
        assert await store.settle(ended, Status.OFF, reason="it failed for a day")
        await made(tenant, "status=final", endpoint=at.url)
        await active(at, 2)
        await tenant.load(patient("p1", identified("urn:mr", number)), report("r1", "p1"))
        await at.until(lambda: len(at.told) == 2)
        officer = await tenant.with_token(scopes=("dod/purge",), client="officer")
        purged = await officer.request("POST", "Patient/p1/$purge", {"reason": "asked for by letter"})
        assert purged.status in (200, 202), purged.text
        await at.until(lambda: len(at.told) == 4)
        assert {change for _, _, change in at.told[2:]} == {"erased"}
        read = await tenant.get("Subscription/named")
        while number in read.text:
            read = await tenant.get("Subscription/named")
        assert "erased" in read.body["error"]
        assert read.body["status"] == "active"
        stored = await store.get(tenant.tenant, "named")
        assert stored is not None
        assert number not in str(stored)
        stopped = await store.get(tenant.tenant, "ended")
        assert stopped is not None
        assert number not in str(stopped)
        assert stopped.reason.startswith("it failed for a day; its filters named")
        there = len(await store.of_tenant(tenant.tenant))
        for told in (
            asked(f"patient.identifier=urn:mr%7C{number}", endpoint=at.url),
            asked(f"patient.identifier=other,{number}", endpoint=at.url),
            asked(f"status=final&subject:identifier=%7C{number}", endpoint=at.url),
            asked("subject=Patient/p1", endpoint=at.url),
            asked("patient=p1", "status=final", endpoint=at.url),
            asked("patient._id=p1", endpoint=at.url),
            asked("status=final", endpoint=f"{at.url}?of={number}"),
            asked("status=final", endpoint=at.url, reason=f"results of {number}"),
        ):
            answer = await tenant.create(told)
            assert answer.status == 410, answer.text
            answer = await tenant.put({**told, "id": "named"})
            assert answer.status == 410, answer.text
        assert (await tenant.put({**asked("status=final", endpoint=at.url), "id": number})).status == 410
        assert len(await store.of_tenant(tenant.tenant)) == there
        assert (await tenant.create(asked("patient=p2", endpoint=at.url))).status == 201
