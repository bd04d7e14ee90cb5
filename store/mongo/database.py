"""The database that the settings name, on a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.mongo.driver.client import Client, Database
    from store.settings import StoreSettings


def database_of(client: Client, settings: StoreSettings) -> Database:
    """The service's database; behind mongos every filter is sent with a part of the shard key."""
    if not settings.mongodb_sharded:
        return client[settings.mongodb_database]
    # Motor reads a variable when it is imported; `connect` has set it.
    from store.mongo.routed_database import RoutedDatabase  # noqa: PLC0415

    return RoutedDatabase(client, settings.mongodb_database)
