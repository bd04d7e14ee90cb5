"""The real application on a real MongoDB, spoken to over HTTP."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

import orjson
from aiohttp.test_utils import TestClient
from typing_extensions import override
from yarl import URL

from api.app import create_app
from api.auth.public_keys import keys_of_jwks
from api.auth.tokens import new_grant, new_token
from api.commands.access.clients import Credential, Registration, registered
from api.http.app_keys import ACCESS, CLIENTS, POLICIES, READINESS
from api.routes import routes
from ingest.http.app_keys import RESOURCES
from store.mongo.stores import opened
from store.tenancy import SearchScope, Tenant, TenantSettings
from tests.support.fhir import batch
from tests.support.given import Given
from tests.support.oauth import public
from tests.support.remembered import remembers
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy

    from api.server.connection_limits import Limits
    from api.settings.service import Settings
    from store.access import AccessStore
    from store.clients import Client, ClientStore
    from store.resources.resources import ResourceStore
    from store.retention.policy import Policy
    from tests.support.oauth import SigningKey

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DATABASE = "dod_service"
FHIR = "application/fhir+json"
FHIR_UTF8 = "application/fhir+json; charset=utf-8"
FORM = "application/x-www-form-urlencoded"

Json = dict[str, Any]
Parameters = str | list[tuple[str, str]]


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **units: float) -> None:
        self.now += timedelta(**units)


class RunningClock(Clock):
    """The time of the machine, for clients that go by it."""

    @override
    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def digits(self) -> Any:
        """The body with every number as it is written."""
        return exactly(self.text)

    @property
    def ids(self) -> list[str]:
        """Ids of the matches of a searchset, in order."""
        return [entry["resource"]["id"] for entry in self.matches]

    @property
    def matches(self) -> list[Json]:
        entries = self.body.get("entry", [])
        return [entry for entry in entries if entry["search"]["mode"] == "match"]

    @property
    def links(self) -> dict[str, str]:
        return {link["relation"]: link["url"] for link in self.body["link"]}

    @property
    def issues(self) -> list[tuple[str, str]]:
        """(severity, code) of an OperationOutcome."""
        assert self.body["resourceType"] == "OperationOutcome"
        return [(issue["severity"], issue["code"]) for issue in self.body["issue"]]

    @property
    def texts(self) -> str:
        """All that an OperationOutcome says."""
        return " ".join(issue["details"]["text"] for issue in self.body["issue"])


def exactly(text: str | bytes) -> Any:
    """JSON with numbers as literal text."""
    return json.loads(text, parse_float=str, parse_int=str)


@dataclass(slots=True)
class Service:
    """A running service, one tenant of it, and a token for all of that tenant."""

    client: TestClient[web.Request, web.Application]
    clock: Clock
    tenant: Tenant
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """Path of the tenant's base."""
        return f"/fhir/R4/{self.tenant}"

    @property
    def base(self) -> str:
        """The tenant's base URL as clients see it."""
        return str(self.client.make_url(self.root))

    @property
    def resources(self) -> ResourceStore:
        return self._app[RESOURCES]

    @property
    def access(self) -> AccessStore:
        return self._app[ACCESS]

    @property
    def clients(self) -> ClientStore:
        return self._app[CLIENTS]

    @property
    def _app(self) -> web.Application:
        assert self.client.app is not None
        return self.client.app

    async def new_tenant(
        self,
        *,
        scopes: Sequence[str] = ("system/*.cruds",),
        search_scope: SearchScope = SearchScope.PATIENT,
    ) -> Service:
        """The same service seen by a new tenant with a token of its own."""
        tenant = Tenant(f"org-{uuid4().hex[:12]}", "Development")
        await self.access.put_tenant(TenantSettings(tenant, search_scope))
        other = Service(self.client, self.clock, tenant)
        return await other.with_token(scopes=scopes)

    async def keeps(self, policy: Policy) -> Policy:
        """The tenant's retention policy from now on."""
        app = self.client.app
        assert app is not None
        policies = app[POLICIES]
        before = (await policies.retention(self.tenant)).policy
        made = policy._replace(made_at=self.clock())
        return await policies.put(self.tenant, made, instead_of=before.version)

    async def with_token(self, *, scopes: Sequence[str], client: str = "tests") -> Service:
        """The same tenant with another token."""
        token = new_token()
        grant = new_grant(
            token=token, client=client, tenants=[self.tenant], scopes=scopes, now=self.clock(), days=30
        )
        await self.access.put_grant(grant)
        headers = {"Authorization": f"Bearer {token}"}
        return Service(self.client, self.clock, self.tenant, headers)

    async def register(
        self, *keys: SigningKey, scopes: Sequence[str] = ("system/*.cruds",), **changed: Any
    ) -> Client:
        """A client of this tenant, registered with the public halves of these keys."""
        credential = Credential(keys=keys_of_jwks(orjson.dumps(public(*keys)))) if keys else Credential()
        told = Registration((self.tenant,), tuple(scopes), credential)
        client = replace(registered(told, now=self.clock()), **changed)
        assert await self.clients.put(client)
        found = await self.clients.client(client.id)
        assert found is not None
        return found

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | str | None = None,
        content_type: str = FHIR,
    ) -> Answer:
        """Request; `path` is under the base, or a whole URL of ours."""
        url = path if path.startswith("http") else f"{self.root}/{path}".rstrip("/")
        sent = data if body is None else json.dumps(body)
        typed = {} if sent is None else {"Content-Type": content_type}
        named = {**self.headers, **typed, **(headers or {})}
        where = URL(url, encoded=True)
        async with self.client.session.request(
            method,
            where if where.absolute else self.client.make_url("/").join(where),
            headers=named,
            data=BytesIO(sent.encode() if isinstance(sent, str) else sent) if sent is not None else None,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.text())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, headers=named(headers))

    async def put(self, resource: Json, **headers: str) -> Answer:
        path = f"{resource['resourceType']}/{resource['id']}"
        return await self.request("PUT", path, resource, headers=named(headers))

    async def create(self, resource: Json, **headers: str) -> Answer:
        return await self.request("POST", resource["resourceType"], resource, headers=named(headers))

    async def delete(self, path: str, **headers: str) -> Answer:
        return await self.request("DELETE", path, headers=named(headers))

    async def load(self, *resources: Json) -> None:
        """Put all of these in few requests, in no order; those of one id one after another."""
        rest = list(resources)
        while rest:
            some = {(one["resourceType"], one["id"]): one for one in reversed(rest[:350])}
            rest = [one for one in rest if some.get((one["resourceType"], one["id"])) is not one]
            puts = [("PUT", f"{type}/{id}", one) for (type, id), one in reversed(some.items())]
            if len(puts) == 1:
                await self.load_in_order(*some.values())
                continue
            answer = await self.request("POST", "", batch(*puts))
            assert all(one["response"]["status"][0] == "2" for one in answer.body["entry"]), answer.text

    async def load_in_order(self, *resources: Json) -> None:
        """Put all of these, one after another."""
        for resource in resources:
            answer = await self.put(resource)
            assert answer.status in (200, 201), answer.text

    async def search(
        self, parameters: Parameters = "", *, type: str = "DiagnosticReport", **headers: str
    ) -> Answer:
        """Search with GET; text is a query string as it stands."""
        return await self.get(f"{type}?{query(parameters)}", **headers)

    async def post_search(
        self,
        parameters: Parameters = "",
        *,
        type: str = "DiagnosticReport",
        url_query: str = "",
        **headers: str,
    ) -> Answer:
        """Search with a form."""
        path = f"{type}/_search" + (f"?{url_query}" if url_query else "")
        return await self.request(
            "POST", path, data=query(parameters), content_type=FORM, headers=named(headers)
        )

    async def pages(self, first: Answer, relation: str = "next") -> list[Answer]:
        """A page and all that follow by a link."""
        found = [first]
        while (url := found[-1].links.get(relation)) is not None:
            page = await self.get(url)
            assert page.status == 200, page.text
            found.append(page)
        return found


async def answered(ask: Callable[[str], Awaitable[Answer]], wanted: str, *, within: float = 60) -> Answer:
    """Answer to a read, asked again as a client asks: a short deadline may pass on a busy machine."""
    until = monotonic() + within
    while (answer := await ask(wanted)).status in (503, 504):
        assert monotonic() < until, "still refused"
    assert answer.status == 200, answer.text
    return answer


def query(parameters: Parameters) -> str:
    return parameters if isinstance(parameters, str) else urlencode(parameters)


def named(headers: Mapping[str, str]) -> dict[str, str]:
    """`if_none_match` as `If-None-Match`."""
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def settings(**changed: Any) -> Settings:
    """Settings of the tests: a database name of their own, no short memory of tenants, no change feed, and no
    sweep on a timer, which would go by the clock of some test over the tenants of all. No deadline that a
    busy machine meets.
    """
    ours = {"mongodb_database": DATABASE, "access_cache_seconds": 0, "policy_cache_seconds": 0}
    never = {"changes_look_seconds": 0, "erasure_wait_seconds": 0, "retention_interval_minutes": 0}
    unhurried = {"search_timeout_seconds": 60}
    return Given(**{**ours, **never, **unhurried, **changed})


@asynccontextmanager
async def opened_service(
    uri: str,
    *,
    clock: Clock | None = None,
    search_scope: SearchScope = SearchScope.PATIENT,
    limits: Limits | None = None,
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    **changed: Any,
) -> AsyncIterator[Service]:
    """The application with a new tenant; `changed` are settings."""
    ticking = clock or Clock()
    chosen = settings(**changed)
    app = create_app(
        chosen,
        routes=routes(),
        open_stores=lambda metrics: opened(
            chosen,
            uri=uri,
            clock=ticking,
            metrics=metrics,
            told=app[READINESS].told,
            role=chosen.role,
            wall_clock=wall_clock,
        ),
        clock=ticking,
    )
    async with TestClient(Server(app, limits=limits)) as client:
        if not (chosen.access_cache_seconds or chosen.policy_cache_seconds):
            remembers(app)
        nobody = Service(client, ticking, Tenant("nobody", "Development"))
        yield await nobody.new_tenant(search_scope=search_scope)
