"""`ClientStore` on MongoDB: registered clients, and assertions that were used once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from store.clients import Client, ClientStore, PublicKey
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import ASSERTIONS, CLIENTS
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.settings import StoreSettings


class MongoClients(ClientStore):
    """The port's verbs on one database."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics
        self._clients: Collection = durable(database, CLIENTS)
        self._assertions: Collection = durable(database, ASSERTIONS)

    @override
    async def client(self, client_id: str) -> Client | None:
        with guarded(self._metrics, "client", seconds=self._seconds):
            document = await self._clients.find_one({"_id": client_id})
        return None if document is None else _client(document)

    @override
    async def clients(self) -> tuple[Client, ...]:
        with guarded(self._metrics, "clients", seconds=self._seconds):
            documents = await self._clients.find(sort=[("_id", 1)]).to_list(None)
        return tuple(map(_client, documents))

    @override
    async def put(self, client: Client) -> bool:
        document = _document(replace(client, revision=client.revision + 1))
        with guarded(self._metrics, "put_client", seconds=self._seconds):
            if client.revision:
                wanted = {"_id": client.id, "revision": client.revision}
                return (await self._clients.replace_one(wanted, document)).matched_count == 1
            try:
                await self._clients.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    @override
    async def use_once(self, name: str, *, until: datetime) -> bool:
        with guarded(self._metrics, "use_assertion", seconds=self._seconds):
            try:
                await self._assertions.insert_one({"_id": name, "expires_at": until})
            except DuplicateKeyError:
                return False
        return True


def _document(client: Client) -> dict[str, Any]:
    return {
        "_id": client.id,
        "name": client.name,
        "tenants": [str(tenant) for tenant in client.tenants],
        "scopes": list(client.scopes),
        "created_at": client.created_at,
        "tokens_since": client.tokens_since,
        "keys": [
            {"kid": key.kid, "jwk": key.jwk, "added_at": key.added_at, "ends_at": key.ends_at}
            for key in client.keys
        ],
        "jwks_url": client.jwks_url,
        "external": client.external,
        "disabled_at": client.disabled_at,
        "revision": client.revision,
    }


def _client(document: Mapping[str, Any]) -> Client:
    keys = (PublicKey(key["kid"], key["jwk"], key["added_at"], key["ends_at"]) for key in document["keys"])
    return Client(
        id=document["_id"],
        name=document["name"],
        tenants=tuple(map(parse_tenant, document["tenants"])),
        scopes=tuple(document["scopes"]),
        created_at=document["created_at"],
        tokens_since=document["tokens_since"],
        keys=tuple(keys),
        jwks_url=document["jwks_url"],
        external=document["external"],
        disabled_at=document["disabled_at"],
        revision=document["revision"],
    )
