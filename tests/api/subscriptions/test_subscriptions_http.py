"""Subscriptions over HTTP on the running service, its own change feed and a receiver beside it."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession, web
from standardwebhooks import Webhook

from api.subscriptions.app_keys import SUBSCRIPTIONS
from store.subscriptions.records import Form, Status
from store.tenancy import SearchScope
from tests.support.fhir import identified, patient, report
from tests.support.receiver import receiver
from tests.support.service import FORM, RunningClock, opened_service
from tests.support.subscriptions import REPORTS, asked, kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.fhir import Json
    from tests.support.receiver import Receiver
    from tests.support.service import Answer, Service

LOOPBACK = "127.0.0.0/8"
PAGE = Path(__file__).parents[3] / "docs" / "subscriptions.md"


@asynccontextmanager
async def subscribing(mongodb: str, database: str, **changed: Any) -> AsyncIterator[Service]:
    """A service that follows the log and delivers, on a database of its own."""
    async with opened_service(
        mongodb,
        clock=RunningClock(),
        search_scope=SearchScope.ANY,
        **{
            "mongodb_database": database,
            "subscription_networks": LOOPBACK,
            "changes_look_seconds": 0.1,
            "subscription_linger_seconds": 0,
            "subscription_lease_seconds": 2,
            **changed,
        },
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def service(mongodb: str) -> AsyncIterator[Service]:
    async with subscribing(mongodb, f"dod_{uuid4().hex[:12]}", subscription_batch_max=3) as opened:
        yield opened


@pytest.fixture
async def tenant(service: Service) -> Service:
    return await service.new_tenant(search_scope=SearchScope.ANY)


async def made(service: Service, *filters: str, **changed: Any) -> str:
    answer = await service.create(asked(*filters, **changed))
    assert answer.status == 201, answer.text
    return str(answer.body["id"])


async def active(at: Receiver, number: int = 1) -> None:
    await at.until(lambda: len(at.of("handshake")) >= number)


def parameters(answer: Answer) -> list[Json]:
    assert answer.status == 200, answer.text
    return [entry["resource"] for entry in answer.body.get("entry", [])]


def value(resource: Json, name: str) -> Any:
    [one] = [one for one in resource["parameter"] if one["name"] == name]
    return next(found for key, found in one.items() if key.startswith("value"))


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


async def test_missed_notifications_can_be_had_by_number(tenant: Service) -> None:
    async with receiver() as at:
        id = await made(tenant, endpoint=at.url, content="full-resource")
        await active(at)
        at.answer = lambda _: web.Response(status=500)
        await tenant.load(*(report(f"r{number}", conclusion="x") for number in range(4)))
        await at.until(lambda: bool(at.told))

        async def last() -> int:
            [status] = parameters(await tenant.get(f"Subscription/{id}/$status"))
            assert value(status, "type") == "query-status"
            return int(value(status, "events-since-subscription-start"))

        while await last() < 4:
            await tenant.get("metadata")
        path = f"Subscription/{id}/$events?eventsSinceNumber=2&eventsUntilNumber=3"
        bundle = (await tenant.get(path)).body
        assert (bundle["type"], len(bundle["entry"])) == ("history", 3)
        assert [entry["resource"]["id"] for entry in bundle["entry"][1:]] == ["r1", "r2"]
        ids = (await tenant.get(f"{path}&content=id-only")).body
        assert (len(ids["entry"]), "link" in ids) == (1, False)
        # What does not fit into one answer is behind a link.
        numbers: list[str] = []
        url: str | None = f"Subscription/{id}/$events?content=id-only"
        while url is not None:
            answer = await tenant.get(url)
            [told] = parameters(answer)
            events = [one for one in told["parameter"] if one["name"] == "notification-event"]
            numbers.append("".join(one["part"][0]["valueString"] for one in events))
            url = next((one["url"] for one in answer.body.get("link", ())), None)
            url = url and url.removeprefix(f"{tenant.base}/")
        assert numbers == ["123", "4"]
        sent = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "eventsSinceNumber", "valueString": "4"},
                {"name": "content", "valueCode": "empty"},
            ],
        }
        [status] = parameters(await tenant.request("POST", f"Subscription/{id}/$events", sent))
        events = [one for one in status["parameter"] if one["name"] == "notification-event"]
        assert [one["part"][0]["valueString"] for one in events] == ["4"]
        assert value(status, "type") == "query-event"
        assert (await tenant.get(f"Subscription/{id}/$events?eventsSinceNumber=x")).status == 400
        assert len((await tenant.get(f"Subscription/{id}/$events?eventsSinceNumber=9")).body["entry"]) == 1


async def test_misspelt_parameters_of_operations_are_refused(tenant: Service) -> None:
    async with receiver() as at:
        id = await made(tenant, endpoint=at.url)
        for method, path, said in (
            ("GET", "$events?eventSinceNumber=3", "`eventSinceNumber` is no parameter"),
            ("GET", "$events?content=full", "`content`: is one of `empty`"),
            ("GET", "$events?eventsSinceNumber=-1", "is the number of an event"),
            ("POST", "$signing-secret?rotate=yes", "`rotate`: is one of `true`, `false`"),
            ("POST", "$signing-secret?rotate=true&overlap=1", "`overlap` is no parameter"),
        ):
            answer = await tenant.request(method, f"Subscription/{id}/{path}")
            assert (answer.status, said in answer.texts) == (400, True), (path, answer.text)
        sent = {"resourceType": "Parameters", "parameter": [{"name": "ids", "valueId": id}]}
        assert (await tenant.request("POST", "Subscription/$status", sent)).status == 400
        for status in ("off", "requested,active"):
            answer = await tenant.request("GET", f"Subscription/$status?status={status}&_format=json")
            assert answer.body["link"][0]["url"].endswith(f"/$status?status={status}&_format=json")
            assert len(answer.body.get("entry", ())) == (status != "off")
        ignored = (await tenant.request("GET", f"Subscription/{id}/$status?status=off")).body["entry"]
        assert [f"urn:uuid:{one['resource']['id']}" for one in ignored] == [ignored[0]["fullUrl"]]


async def test_missed_notifications_tell_a_caller_what_that_caller_may_read(tenant: Service) -> None:
    """Tokens of one client with other scopes, and an admin who reads no report."""
    subscribes, part = "system/Subscription.cruds", "system/DiagnosticReport.rs?code=urn:x|1"
    async with receiver() as at:
        first = await tenant.with_token(scopes=(subscribes, "system/DiagnosticReport.rs"), client="one")
        whole = await made(first, "patient=Patient/1", endpoint=at.url, content="full-resource")
        named = "patient.identifier=urn:mr|7"
        narrow = await tenant.with_token(scopes=(subscribes, part), client="one")
        some = await made(narrow, named, endpoint=at.url, content="full-resource")
        family = await made(tenant, "patient.family=Smith", endpoint=at.url)
        for id, scopes, client, status in (
            (whole, (subscribes, "system/DiagnosticReport.rs"), "one", 200),
            (some, (subscribes, "system/DiagnosticReport.rs"), "one", 200),
            (some, (subscribes, part), "one", 200),
            (whole, (subscribes, part), "one", 403),
            (some, (subscribes, "system/DiagnosticReport.rs?code=urn:x|2"), "one", 403),
            (whole, (subscribes,), "one", 403),
            (whole, (subscribes, "dod/admin"), "admin", 403),
            (family, (subscribes, "system/DiagnosticReport.rs", "dod/admin"), "admin", 403),
        ):
            other = await tenant.with_token(scopes=scopes, client=client)
            for content in ("full-resource", "id-only"):
                answer = await other.get(f"Subscription/{id}/$events?content={content}")
                assert answer.status == status, (id, scopes, answer.text)


async def test_a_subscription_is_read_searched_changed_and_deleted(tenant: Service) -> None:
    async with receiver() as at:
        id = await made(tenant, "patient=Patient/p1", endpoint=at.url)
        await active(at)
        created = await tenant.get(f"Subscription/{id}")
        assert created.headers["ETag"] == 'W/"1"'
        assert created.body["criteria"] == REPORTS
        for query, count in (
            ("status=active", 1),
            ("status=off,error", 0),
            (f"criteria={REPORTS}", 1),
            (f"topic={REPORTS}&type=rest-hook", 1),
            (f"url={at.url}", 1),
            (f"_id={id}", 1),
            ("_id=other", 0),
        ):
            answers = [
                await tenant.get(f"Subscription?{query}"),
                await tenant.get(f"Subscription/_search?{query}"),
                await tenant.request("POST", "Subscription/_search", data=query, content_type=FORM),
            ]
            assert [answer.body["total"] for answer in answers] == [count] * 3, query
        assert (await tenant.get("Subscription?colour=red")).status == 400
        changed = {**created.body, "reason": "another"}
        stale = await tenant.request("PUT", f"Subscription/{id}", changed, headers={"If-Match": 'W/"7"'})
        assert stale.status == 412
        done = await tenant.request("PUT", f"Subscription/{id}", changed, headers={"If-Match": 'W/"1"'})
        assert (done.status, done.headers["ETag"], done.body["status"]) == (200, 'W/"2"', "active")
        assert (await tenant.get("Subscription/$status?status=active")).body["total"] == 1
        assert (await tenant.get("Subscription/$status?id=other")).body["total"] == 0
        stopped = await tenant.request("PUT", f"Subscription/{id}", {**changed, "status": "off"})
        assert stopped.body["status"] == "off"
        assert (await tenant.delete(f"Subscription/{id}")).status == 204
        assert (await tenant.get(f"Subscription/{id}")).status == 404
        assert (await tenant.delete(f"Subscription/{id}")).status == 204
        put = await tenant.put({**asked(endpoint=at.url), "id": "mine"})
        assert (put.status, put.body["id"]) == (201, "mine")
        assert (await tenant.request("PUT", "Subscription/mine", asked())).status == 400


async def test_a_subscription_is_made_once_for_a_key(tenant: Service) -> None:
    async with receiver() as at:
        answers = [await tenant.create(asked(endpoint=at.url), idempotency_key="one") for _ in range(2)]
        assert [answer.status for answer in answers] == [201, 201]
        assert len({answer.body["id"] for answer in answers}) == 1
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert (await tenant.get("Subscription")).body["total"] == 1
        other = asked(endpoint=at.url, content="empty")
        for sent, key, status in ((other, "one", 422), (other, "a b", 400), (other, "\xe9", 400)):
            assert (await tenant.create(sent, idempotency_key=key)).status == status, key


async def test_tokens_that_were_issued_without_a_client_own_nothing_of_each_other(tenant: Service) -> None:
    async with receiver() as at:
        one, other = [await tenant.with_token(scopes=("system/*.cruds",), client="client") for _ in range(2)]
        id = str((await one.create(asked(endpoint=at.url), idempotency_key="key")).body["id"])
        assert [(await who.get(f"Subscription/{id}")).status for who in (one, other)] == [200, 404]
        twin = await other.create(asked(endpoint=at.url), idempotency_key="key")
        assert (twin.status, twin.body["id"] != id) == (201, True)
        assert [(await who.get("Subscription")).body["total"] for who in (one, other)] == [1, 1]


async def test_who_may_subscribe_to_what_and_see_whose_subscriptions(service: Service) -> None:
    """Scopes, the patient rule, other clients, other tenants."""
    tenant = await service.new_tenant()
    async with receiver() as at:
        unbounded = await tenant.create(asked(endpoint=at.url))
        assert (unbounded.status, "must name a patient" in unbounded.texts) == (422, True)
        id = await made(tenant, "patient.identifier=urn:mr|7", endpoint=at.url)
        stranger = await tenant.with_token(scopes=("system/*.cruds",), client="stranger")
        for path in (f"Subscription/{id}", f"Subscription/{id}/$status", f"Subscription/{id}/$events"):
            assert (await stranger.get(path)).status == 404
        assert (await stranger.get("Subscription")).body["total"] == 0
        taken = {**asked("patient=Patient/1", endpoint=at.url), "id": id}
        assert (await stranger.put(taken)).status == 409
        assert (await stranger.delete(f"Subscription/{id}")).status == 204
        assert (await tenant.get(f"Subscription/{id}")).status == 200
        admin = await tenant.with_token(scopes=("system/*.cruds", "dod/admin"), client="admin")
        assert (await admin.get("Subscription")).body["total"] == 1
        elsewhere = await service.new_tenant()
        assert (await elsewhere.get(f"Subscription/{id}")).status == 404
        for scopes, filters, status in (
            (("system/Subscription.cruds",), ("patient=Patient/1",), 403),
            (("system/Subscription.cruds", "system/DiagnosticReport.r"), ("patient=Patient/1",), 403),
            (("system/Subscription.cruds", "system/DiagnosticReport.rs"), ("patient=Patient/1",), 201),
            (
                ("system/Subscription.cruds", "system/DiagnosticReport.rs"),
                ("patient.identifier=urn:mr|7",),
                201,
            ),
            (
                ("system/Subscription.cruds", "system/DiagnosticReport.rs"),
                ("patient=Patient/1", "patient.family=Smith"),
                403,
            ),
            (("system/DiagnosticReport.rs",), ("patient=Patient/1",), 403),
            (("dod/push",), ("patient=Patient/1",), 403),
        ):
            other = await tenant.with_token(scopes=scopes, client="other")
            answer = await other.create(asked(*filters, endpoint=at.url))
            assert answer.status == status, (scopes, filters, answer.text)


async def test_what_an_operator_set_up_is_no_clients_to_change(tenant: Service) -> None:
    store = tenant._app[SUBSCRIPTIONS]
    own = kept(
        "upstream", tenant=tenant.tenant, form=Form.LIGHT, holder=None, resource=b"", status=Status.OFF
    )
    assert await store.create(own)
    admin = await tenant.with_token(scopes=("system/*.cruds", "dod/admin"), client="admin")
    async with receiver() as at:
        assert (await admin.get("Subscription/upstream")).status == 404
        assert (await admin.put({**asked(endpoint=at.url), "id": "upstream"})).status == 409
        assert (await admin.delete("Subscription/upstream")).status == 204
    assert await store.get(tenant.tenant, "upstream") == own


async def test_a_subscriber_hears_of_its_patient_and_tenant_alone(service: Service) -> None:
    ours, theirs = await service.new_tenant(), await service.new_tenant()
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


async def test_topics_are_listed_and_bundles_refuse_subscriptions_with_a_reason(tenant: Service) -> None:
    listed = (await tenant.get("Subscription/$topic-list")).body
    assert REPORTS in [one["valueCanonical"] for one in listed["parameter"]]
    entry = {"resource": asked(), "request": {"method": "POST", "url": "Subscription"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    [answer] = (await tenant.request("POST", "", bundle)).body["entry"]
    assert answer["response"]["status"] == "422"
    assert "by itself" in answer["response"]["outcome"]["issue"][0]["details"]["text"]


async def test_a_tenant_has_so_many_subscriptions_and_no_more(mongodb: str) -> None:
    database = f"dod_{uuid4().hex[:12]}"
    async with subscribing(mongodb, database, subscriptions_max=1) as service, receiver() as at:
        first = await service.put({**asked(endpoint=at.url), "id": "s1"})
        assert first.status == 201
        full = await service.create(asked(endpoint=at.url))
        assert (full.status, "at most 1" in full.texts) == (409, True)
        assert (await service.put({**asked(endpoint=at.url), "id": "s1"})).status == 200


async def test_the_receiver_of_the_page_checks_signatures_and_says_what_it_hears(tenant: Service) -> None:
    text = PAGE.read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 22
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
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
