"""Reports known by an order number, writes by a condition on it, and answers that came before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support.fhir import ORDERS, Json, identified, report
from tests.support.service import named

if TYPE_CHECKING:
    from tests.support.service import Answer, Service
AGAIN = "Idempotent-Replayed"


def marked(answer: Answer) -> bool:
    """Whether it is the answer to an earlier request."""
    return answer.headers.get(AGAIN) == "true"


def numbered(number: str, **elements: Any) -> Json:
    """A report with this order number and no id."""
    body = report(identifier=[identified(ORDERS, number)], **elements)
    return {name: value for name, value in body.items() if name != "id"}


def by(number: str) -> str:
    return f"DiagnosticReport?identifier={quote(f'{ORDERS}|{number}', safe='')}"


async def put_where(service: Service, path: str, body: Json, **headers: str) -> Answer:
    return await service.request("PUT", path, body, headers=named(headers))


async def count(service: Service, number: str) -> int:
    found = await service.search([("patient", "p1"), ("identifier", f"{ORDERS}|{number}")])
    total: int = found.body["total"]
    return total
