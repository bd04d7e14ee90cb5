"""Operations on subscriptions over HTTP: missed notifications, status, and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from api.subscriptions.app_keys import OUTBOX, SUBSCRIPTIONS
from store.subscriptions.records import Form, Status
from tests.api.subscriptions.subscribing import active, made
from tests.support.fhir import report
from tests.support.receiver import receiver
from tests.support.subscriptions import asked, kept

if TYPE_CHECKING:
    from tests.support.fhir import Json
    from tests.support.service import Answer, Service


def parameters(answer: Answer) -> list[Json]:
    assert answer.status == 200, answer.text
    return [entry["resource"] for entry in answer.body.get("entry", [])]


def value(resource: Json, name: str) -> Any:
    [one] = [one for one in resource["parameter"] if one["name"] == name]
    return next(found for key, found in one.items() if key.startswith("value"))


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
        # None of these is kept any more; what comes behind them was not asked for.
        await tenant._app[OUTBOX]._outbox.delete_many({"subscription": f"{tenant.tenant}/{id}"})  # type: ignore[attr-defined]
        await tenant.load(report("r9"))
        while await last() < 5:
            await tenant.get("metadata")
        assert len((await tenant.get(path)).body["entry"]) == 1


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
