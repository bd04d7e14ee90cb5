"""The HTTP edge on a fake store, with handlers that say what they were given."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from api.app import create_app
from api.auth.tokens import new_grant, new_token
from api.http.fhir_json import FHIR_BODIES, FORM_BODIES
from api.http.routing import BASE, ID, TYPE, Group, Route
from api.server.connection_limits import Limits
from ingest.http.app_keys import PRINCIPAL
from ingest.http.body import body_of
from ingest.http.replies import fhir_json
from store.stores import Privacy, Stores, Subscribing
from store.tenancy import Tenant, TenantSettings
from tests.support.access import MemoryAccess, MemoryClients
from tests.support.given import Given
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from aiohttp.typedefs import Handler

    from api.settings.service import Settings
    from store.access import AccessStore
    from store.changes.metrics import ChangeMetrics
    from store.clients import ClientStore
    from store.metrics import StoreMetrics

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAB = Tenant("lab", "Production")
"""The tenant that exists."""
OTHER = Tenant("other", "Production")
"""Exists too; the usual token is not for it."""
NOWHERE = Tenant("nowhere", "Production")
"""Was never created."""
LAB_BASE = f"/fhir/R4/{LAB}"

EdgeClient = TestClient[web.Request, web.Application]


async def answer(request: web.Request) -> web.StreamResponse:
    """A handler that reads its body and is content."""
    return fhir_json(bytes(await body_of(request)) or b"{}")


def edge_routes(handler: Handler = answer) -> tuple[Route, ...]:
    """Row of each kind."""
    one = f"{BASE}/{TYPE}/{ID}"
    return (
        Route("search-post", "POST", f"{BASE}/{TYPE}/_search", handler, Group.SEARCH, "s", body=FORM_BODIES),
        Route("search", "GET", f"{BASE}/{TYPE}", handler, Group.SEARCH, "s"),
        Route("create", "POST", f"{BASE}/{TYPE}", handler, Group.WRITE, "c", body=FHIR_BODIES),
        Route("read", "GET", one, handler, Group.READ, "r"),
        Route("update", "PUT", one, handler, Group.WRITE, "u", body=FHIR_BODIES),
        Route("delete", "DELETE", one, handler, Group.WRITE, "d"),
        Route("batch", "POST", BASE, may_create_reports, Group.WRITE, body=FHIR_BODIES),
        Route("process-message", "POST", f"{BASE}/$process-message", handler, Group.WRITE, body=FHIR_BODIES),
        Route("metadata", "GET", f"{BASE}/metadata", handler, Group.META, open=True),
    )


async def may_create_reports(request: web.Request) -> web.StreamResponse:
    """A handler that checks scopes itself, as a batch does for each entry."""
    allowed = request[PRINCIPAL].may("DiagnosticReport", "c")
    return fhir_json(b"true" if allowed else b"false")


def bearer(
    access: MemoryAccess,
    *,
    scopes: Sequence[str] = ("system/*.cruds",),
    tenants: Sequence[Tenant] = (LAB,),
    client: str = "tests",
    now: datetime = NOW,
    days: int = 30,
) -> dict[str, str]:
    """The header of a token that the store knows."""
    token = new_token()
    grant = new_grant(token=token, client=client, tenants=tenants, scopes=scopes, now=now, days=days)
    access.kept[grant.digest] = grant
    return {"Authorization": f"Bearer {token}"}


def memory_access() -> MemoryAccess:
    """A store with the two tenants."""
    access = MemoryAccess()
    access.settings = {tenant: TenantSettings(tenant) for tenant in (LAB, OTHER)}
    return access


class NoChanges:
    """Stands where the change feed is written and read: what the application does of itself."""

    def wake(self) -> None:
        """Nobody waits."""

    async def follow(self, stopping: Callable[[], bool], told: ChangeMetrics) -> bool:
        return False

    async def behind(self) -> float:
        return 0.0

    async def take(self) -> None:
        """Nobody delivers."""

    async def are_there(self) -> bool:
        """Nobody subscribes."""
        return False


def edge_stores(
    access: AccessStore, ping: Callable[[], Awaitable[None]], clients: ClientStore | None = None
) -> Stores:
    """Stores of tests of the edge: nothing asks for what needs a database."""
    nothing: Any = None
    silent: Any = NoChanges()
    unheld: Any = SimpleNamespace(free=None)  # A herald that ends is told of it, and none ends here.
    return Stores(
        resources=nothing,
        access=access,
        ping=ping,
        attachments=nothing,
        dead_letters=nothing,
        policies=nothing,
        privacy=Privacy(nothing, nothing, nothing, nothing, nothing),
        sweeping=nothing,
        leases=unheld,
        clients=clients or MemoryClients(),
        verifying=nothing,
        changes=silent,
        follower=silent,
        subscribing=Subscribing(silent, silent, nothing),
    )


@asynccontextmanager
async def serving(
    access: MemoryAccess,
    *,
    routes: Iterable[Route] | None = None,
    settings: Settings | None = None,
    limits: Limits | None = None,
    clients: MemoryClients | None = None,
    clock: Callable[[], datetime] = lambda: NOW + timedelta(days=1),
) -> AsyncIterator[EdgeClient]:
    """A client of the application on this store."""

    async def ping() -> None:
        await access.secret("ping")

    @asynccontextmanager
    async def opened(_: StoreMetrics) -> AsyncIterator[Stores]:
        yield edge_stores(access, ping, clients)

    app = create_app(
        settings or Given(),
        routes=edge_routes() if routes is None else routes,
        open_stores=opened,
        clock=clock,
    )
    async with TestClient(Server(app, limits=limits)) as client:
        yield client
