"""Documents, small and large, and how they are got."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api.background.file_collection import collect_tenant
from api.http.app_keys import DEAD_LETTERS, POLICIES
from ingest.http.app_keys import ATTACHMENTS, RESOURCES
from store.files import CHUNK_BYTES
from store.stores import Stores
from tests.support.edge import edge_stores
from tests.support.fhir import Json, report
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping


PDF = b"%PDF-1.7\n" + bytes(range(256)) * 1_000 + b"\x00\xff made up \xfe" + bytes(CHUNK_BYTES)
"""Longer than a chunk, and no text."""


SMALL = b"%PDF-1.7\n\x00\xff small"


TYPE = "application/pdf"


def form(content: bytes = PDF, **elements: Any) -> Json:
    return {"contentType": TYPE, "title": "Made up", "data": b64encode(content).decode(), **elements}


def with_form(id: str = "r1", content: bytes = PDF, **elements: Any) -> Json:
    return report(id, presentedForm=[form(content)], **elements)


def binary(id: str = "b1", content: bytes = PDF, **elements: Any) -> Json:
    data = b64encode(content).decode()
    return {"resourceType": "Binary", "id": id, "contentType": TYPE, "data": data, **elements}


@dataclass(frozen=True, slots=True)
class Got:
    """A response whose body is bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def get(service: Service, path: str, *, method: str = "GET", **headers: str) -> Got:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    where = service.client.make_url(f"{service.root}/{path}")
    async with service.client.session.request(
        method, where, headers={**service.headers, **named}
    ) as response:
        return Got(response.status, response.headers, await response.read())


async def url_of(service: Service, resource: Json | None = None) -> str:
    """Place where the document of a report went."""
    answer = await service.put(resource or with_form())
    assert answer.status in (200, 201), answer.text
    [stored] = answer.body["presentedForm"]
    return str(stored["url"])


def stores_of(service: Service) -> Stores:
    app = service.client.app
    assert app is not None

    async def ping() -> None: ...

    return replace(
        edge_stores(service.access, ping),
        resources=app[RESOURCES],
        attachments=app[ATTACHMENTS],
        dead_letters=app[DEAD_LETTERS],
        policies=app[POLICIES],
    )


async def orphans(service: Service) -> int:
    """Number of files that go, an hour and more from now."""
    later = service.clock() + timedelta(hours=2)
    return (await collect_tenant(stores_of(service), service.tenant, now=later))[1]
