"""Subscriptions made, found, changed, deleted and refused over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from tests.api.subscriptions.subscribing import active, made, subscribing
from tests.support.receiver import receiver
from tests.support.service import FORM
from tests.support.subscriptions import REPORTS, asked

if TYPE_CHECKING:
    from tests.support.service import Service


async def test_a_subscription_is_read_searched_changed_and_deleted(tenant: Service) -> None:
    async with receiver() as at:
        assert (await tenant.get("Subscription?colour=red")).status == 400  # Though there is none to find.
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
            ("status=&_id=,", 1),
            ("status=off,,", 0),
        ):
            answers = [
                await tenant.get(f"Subscription?{query}"),
                await tenant.get(f"Subscription/_search?{query}"),
                await tenant.request("POST", "Subscription/_search", data=query, content_type=FORM),
            ]
            assert [answer.body["total"] for answer in answers] == [count] * 3, query
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


async def test_who_had_an_id_before_knows_no_secret_of_the_next_one(tenant: Service) -> None:
    """A stolen secret ends with its Subscription; an id that is free may be another client's."""
    secrets = []
    async with receiver() as at:
        for _ in range(2):
            sent = {**asked(endpoint=at.url), "id": "hook"}
            for status in (201, 200):  # As it is changed, the secret stays.
                assert (await tenant.put(sent)).status == status
                answer = await tenant.request("POST", "Subscription/hook/$signing-secret")
                secrets.append(answer.body["parameter"][0]["valueString"])
            assert (await tenant.delete("Subscription/hook")).status == 204
    assert secrets[0] == secrets[1] != secrets[2] == secrets[3]


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


async def test_who_may_subscribe_to_what_and_see_whose_subscriptions(following: Service) -> None:
    """Scopes, the patient rule, other clients, other tenants."""
    tenant = await following.new_tenant()
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
        elsewhere = await following.new_tenant()
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
