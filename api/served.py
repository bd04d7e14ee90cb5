"""The application as it is served: with all routes, on the database at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.app import ALL_DUTIES, create_app, utc_now
from api.http.app_keys import READINESS
from api.routes import routes
from store.mongo.stores import opened

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Middleware

    from api.app import Duty
    from api.settings.service import Settings


def served(
    settings: Settings,
    uri: str,
    *,
    duties: frozenset[Duty] = ALL_DUTIES,
    taken: Middleware | None = None,
) -> web.Application:
    """The application, which opens its stores when it is started; `create_app` has the rest."""
    app = create_app(
        settings,
        routes=routes(),
        taken=taken,
        duties=duties,
        open_stores=lambda metrics: opened(
            settings,
            uri=uri,
            clock=utc_now,
            metrics=metrics,
            wait_seconds=settings.startup_seconds,
            told=app[READINESS].told,
            role=settings.role,
        ),
    )
    return app
