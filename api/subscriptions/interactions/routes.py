"""Rows of Subscriptions in the route table, before those of all types, which keep resources as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.http.fhir_json import FHIR_BODIES, FORM_BODIES
from api.http.operation_parameters import PARAMETERS
from api.http.routing import BASE, ID, Group, Route
from api.subscriptions.interactions import handlers, operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.typedefs import Handler

ALL: Final = f"{BASE}/{{type:Subscription}}"
ONE: Final = f"{ALL}/{ID}"


def subscription_routes() -> tuple[Route, ...]:
    """All rows; what is asked for by the exact path comes before an id."""
    return (
        _asking("subscription-search-post", f"{ALL}/_search", handlers.search, "s", body=FORM_BODIES),
        _asking("subscription-search-get", f"{ALL}/_search", handlers.search, "s"),
        _asking("subscription-topics", f"{ALL}/$topic-list", operations.topics, "r"),
        *_operation("subscriptions-status", f"{ALL}/$status", operations.status),
        *_operation("subscription-status", f"{ONE}/$status", operations.status),
        *_operation("subscription-events", f"{ONE}/$events", operations.events),
        _writing(
            "subscription-secret", "POST", f"{ONE}/$signing-secret", operations.secret, "ru", PARAMETERS
        ),
        _asking("subscription-search", ALL, handlers.search, "s"),
        _writing("subscription-create", "POST", ALL, handlers.create, "c", FHIR_BODIES),
        _asking("subscription-read", ONE, handlers.read, "r"),
        _writing("subscription-update", "PUT", ONE, handlers.update, "u", FHIR_BODIES),
        _writing("subscription-delete", "DELETE", ONE, handlers.delete, "d", None),
    )


def _asking(
    name: str, path: str, handler: Handler, scope: str, *, body: frozenset[str] | None = None
) -> Route:
    return Route(name, "GET" if body is None else "POST", path, handler, Group.READ, scope, body=body)


def _operation(name: str, path: str, handler: Handler) -> Iterator[Route]:
    """Rows of an operation that changes nothing, which is asked for by GET and by POST."""
    yield _asking(name, path, handler, "r")
    yield _asking(f"{name}-post", path, handler, "r", body=PARAMETERS)


def _writing(  # noqa: PLR0913 -- the fields of a row
    name: str, method: str, path: str, handler: Handler, scope: str, body: frozenset[str] | None
) -> Route:
    # An `Idempotency-Key` is heeded by the handler: a subscription is no resource of the store's.
    return Route(name, method, path, handler, Group.WRITE, scope, body=body, once_by_itself=True)
