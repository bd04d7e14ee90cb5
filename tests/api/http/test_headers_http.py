"""Header fields that come more than once, and tags in lists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from api.http.fhir_json import accepts_json
from api.http.headers import MEMBERS_MAX, shortened
from store.tenancy import TenantSettings
from tests.support.fhir import report

if TYPE_CHECKING:
    from tests.support.service import Service

STORED = "DiagnosticReport/r1"


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (STORED, [("Accept", "text/html"), ("Accept", "application/fhir+json")], 200),
        (STORED, [("Accept", "text/html"), ("Accept", "image/png")], 406),
        (STORED, [("If-None-Match", 'W/"7"'), ("If-None-Match", 'W/"1"')], 304),
        (STORED, [("If-None-Match", 'W/"7"'), ("If-None-Match", 'W/"8"')], 200),
        ("Binary/b1", [("If-None-Match", '"7"'), ("If-None-Match", 'W/"1"')], 304),
    ],
)
async def test_fields_of_one_name_are_one_list(
    service: Service, path: str, fields: list[tuple[str, str]], status: int
) -> None:
    await service.load(report("r1"), {"resourceType": "Binary", "id": "b1", "contentType": "text/plain"})
    headers = CIMultiDict([*service.headers.items(), *fields])
    async with service.client.session.get(f"{service.base}/{path}", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize("path", ["metadata", "openapi.json"])
async def test_tags_of_what_stands_open(service: Service, path: str) -> None:
    tag = (await service.get(path)).headers["ETag"]
    for known in (tag, tag.removeprefix("W/"), f'W/"other", {tag}', "*"):
        assert (await service.get(path, if_none_match=known)).status == 304, known
    assert (await service.get(path, if_none_match='W/"other"')).status == 200


async def test_the_answer_to_any_page_is_kept_for_any_page(service: Service) -> None:
    """The origin is not repeated: its bytes may be none that a header can hold."""
    open_to_all = await service.new_tenant()
    await service.access.put_tenant(TenantSettings(open_to_all.tenant, cors_origins=frozenset({"*"})))
    for origin in ("https://app.example", "null"):
        answer = await open_to_all.get("Patient/p1", origin=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    host, port = open_to_all.client.host, open_to_all.client.port
    reader, writer = await asyncio.open_connection(host, port)
    asked = f"GET {open_to_all.root}/metadata HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nOrigin: "
    writer.write(asked.encode() + b"\xff\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


def test_lists_are_read_as_far_as_anybody_writes_them() -> None:
    most = ",".join(["a/b"] * (MEMBERS_MAX - 1) + ["application/json"])
    assert shortened(most) == most
    assert accepts_json(most)
    assert shortened("application/json," * 30_000).count(",") == MEMBERS_MAX - 1
    assert not accepts_json("application/json" + ";x=1" * 10_000)
