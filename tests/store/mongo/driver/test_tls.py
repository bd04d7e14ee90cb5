"""TLS to MongoDB, by what the connection string names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from store.errors import StartupError
from store.mongo.stores import opened
from store.tenancy import Tenant, TenantSettings
from tests.support.certificates import Authority
from tests.support.mongods import SET, Client, Mongod, standalone
from tests.support.service import Clock, settings
from tests.support.store import metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LAB = Tenant("lab", "Production")


async def started(member: Mongod, tls: str) -> None:
    """Make a set of one, and wait for its primary."""
    async with Client(f"{member.uri}{tls}") as client:
        config = {"_id": SET, "members": [{"_id": 0, "host": member.address}]}
        await client.admin.command({"replSetInitiate": config})
        async with asyncio.timeout(60):
            while True:
                if (await client.admin.command("hello"))["isWritablePrimary"]:
                    return
                await asyncio.sleep(0.05)


async def test_the_service_reaches_a_mongodb_that_speaks_tls_alone(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "other.pem").write_bytes(stranger.certificate)
    for name, pair in (("server", authority.server()), ("client", authority.client("dod"))):
        (tmp_path / f"{name}.pem").write_bytes(pair.certificate + pair.key)
    options = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(tmp_path / "server.pem")]
    options += ["--tlsCAFile", str(tmp_path / "ca.pem"), "--replSet", SET]
    async with standalone(tmp_path / "mongod", *options) as member:
        plain = f"mongodb://{member.address}/?replicaSet={SET}"
        trusting = f"&tls=true&tlsCAFile={tmp_path / 'ca.pem'}"
        own = f"&tlsCertificateKeyFile={tmp_path / 'client.pem'}"
        await started(member, trusting + own)

        async def use(uri: str) -> None:
            chosen = settings(mongodb_database="dod_tls", store_timeout_seconds=10)
            async with opened(chosen, uri=uri, clock=Clock(), metrics=metrics(), wait_seconds=0.5) as stores:
                await stores.access.put_tenant(TenantSettings(LAB))
                assert await stores.access.tenant(LAB) == TenantSettings(LAB)

        await use(plain + trusting + own)
        without_own, other_authority = trusting, (trusting + own).replace("ca.pem", "other.pem")
        for refused in ("", without_own, other_authority):
            await refuses(use, plain + refused)


async def refuses(use: Callable[[str], Awaitable[None]], uri: str) -> None:
    with pytest.raises(StartupError):
        await use(uri)
