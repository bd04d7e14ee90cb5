"""Every route with every kind of credential: the exact status, by a table."""

from __future__ import annotations

from dataclasses import replace

from api.auth.scopes import OWN
from api.commands.access.clients import disabled
from api.routes import routes
from store.tenancy import Tenant
from tests.api.auth.asking import bearer_of
from tests.api.auth.route_table import NARROW, ROWS, WITH_OWN, ask, observation
from tests.support.fhir import patient
from tests.support.oauth import key
from tests.support.service import Service


def test_the_table_says_what_each_route_needs() -> None:
    needs = {row.name: (row.scope, row.open) for row in routes()}
    assert needs == {name: (rows[0].scope, rows[0].is_open) for name, rows in ROWS.items()}
    checked_by_handlers = {name for name, (scope, is_open) in needs.items() if not scope and not is_open}
    assert checked_by_handlers == {
        "query",
        "batch",
        "read-binary",
        "vread-binary",
        "audit-search",
        "audit-search-get",
        "audit-search-post",
        "audit-read",
        "changes",
    }
    for row in routes():
        assert row.scope in OWN or set(row.scope) <= set("cruds")


async def test_every_route_with_every_credential(service: Service) -> None:
    await service.load(patient("p1"), observation("lab"))
    client = await service.register(key("rsa"), scopes=("system/*.cruds",))
    stopped = await bearer_of(service, client)
    assert await service.clients.put(disabled(client, service.clock()))
    expired = await service.with_token(scopes=["system/*.cruds"])
    service.clock.move(days=30)
    nobody = replace(service, headers={})
    unknown = replace(service, headers={"Authorization": "Bearer a.b.c"})
    here = await service.with_token(scopes=["system/*.cruds"])
    elsewhere = replace(here, tenant=Tenant(service.tenant.organization, "Production"))
    unfit = await service.with_token(scopes=["system/Account.cruds"])
    push = await service.with_token(scopes=["dod/push"])
    narrow = await service.with_token(scopes=[NARROW])
    for name, rows in ROWS.items():
        for row in rows:
            for who, challenge in (
                (nobody, 401),
                (unknown, 401),
                (expired, 401),
                (stopped, 401),
                (elsewhere, row.whole if row.path.startswith("/") else 403),  # Its tenant is its token's.
            ):
                answer = await ask(who, row)
                assert answer.status == (row.whole if row.is_open else challenge), (name, answer.text)
                assert ("WWW-Authenticate" in answer.headers) is (answer.status == 401)
            for kind, who, status in (
                ("unfit", unfit, row.unfit),
                ("push", push, row.push),
                ("narrow", narrow, row.narrow),
                ("whole", here, row.whole),
            ):
                answer = await ask(who, row)
                assert answer.status == status, (name, row.path, kind, answer.text)
    entry = ROWS["batch"][0]
    answered = [(await ask(who, entry)).body["entry"][0] for who in (unfit, push, narrow, here)]
    assert [one["response"]["status"][:3] for one in answered] == ["403", "403", "200", "200"]
    for scope, statuses in WITH_OWN.items():
        holder = await service.with_token(scopes=[scope])
        for name, status in statuses.items():
            assert (await ask(holder, ROWS[name][0])).status == status, (scope, name)
        for name, rows in ROWS.items():
            if not rows[0].is_open and rows[0].scope not in ("", scope):
                assert (await ask(holder, rows[0])).status == 403, (scope, name)
