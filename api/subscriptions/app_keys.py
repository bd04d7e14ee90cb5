"""Keys of what handlers of subscriptions take out of the application; `api.subscriptions.life` fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from api.subscriptions.sending.reading import Sources
    from api.subscriptions.standing import Standings
    from ingest.http.forwarded import Networks
    from store.subscriptions.events import Outbox
    from store.subscriptions.records import SubscriptionStore

SUBSCRIPTIONS: Final[web.AppKey[SubscriptionStore]] = web.AppKey("subscriptions")
OUTBOX: Final[web.AppKey[Outbox]] = web.AppKey("outbox")
STANDINGS: Final[web.AppKey[Standings]] = web.AppKey("standings")
"""Standings of subscriptions, as they are now."""
SOURCES: Final[web.AppKey[Sources]] = web.AppKey("subscription_sources")
"""Ports that tell what a subscriber may read."""
ROOT_SECRET: Final[web.AppKey[bytes]] = web.AppKey("subscriptions_secret")
"""Shared by all replicas: signing secrets are derived from it, and secrets of receivers sealed with it."""
RECEIVER_NETWORKS: Final[web.AppKey[Networks]] = web.AppKey("receiver_networks")
"""Networks beside public addresses that notifications may be sent to."""
