"""Header fields of answers: nothing of versions, no copies in caches, no stranger's name in links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ingest.http.app_keys import is_ours
from tests.support.fhir import report
from tests.support.service import opened_service
from tests.support.wire import head, wire

if TYPE_CHECKING:
    from tests.support.service import Service


async def test_no_versions_are_told_and_no_copies_are_kept(service: Service) -> None:
    await service.load(report("r1"))
    for path, status, is_open in (
        ("DiagnosticReport/r1", 200, False),
        ("DiagnosticReport/r1/_history", 200, False),
        ("DiagnosticReport?_id=r1", 200, False),
        ("DiagnosticReport/none", 404, False),
        ("DiagnosticReport", 400, False),
        ("metadata", 200, True),
        ("nothing/at/all/here", 404, False),
    ):
        answer = await service.get(path)
        assert answer.status == status
        assert answer.headers["Server"] == "dod"
        assert not re.search(r"aiohttp|python/", str(answer.headers), re.IGNORECASE)
        assert is_open or answer.headers["Cache-Control"] == "no-store"


async def test_a_strangers_name_ends_up_in_no_link(service: Service) -> None:
    body = b'{"resourceType":"Patient"}'
    fields = {**service.headers, "Content-Type": "application/fhir+json", "Content-Length": str(len(body))}
    for host, status in (
        ("evil.example", 421),
        ("127.0.0.1:1", 201),
        ("localhost", 201),
        ("127.0.0.1@evil", 421),
    ):
        request = head("POST", f"{service.root}/Patient", fields)
        request = request.replace(b"Host: 127.0.0.1", f"Host: {host}".encode())
        async with wire(service.client) as line:
            await line.send(request, body)
            reply = await line.reply()
        assert reply.status == status
        assert b"evil" not in reply.body
        assert reply.headers.get("location", f"http://{host}/").startswith(f"http://{host}/")


async def test_with_a_public_url_any_name_is_answered_under_it(mongodb: str) -> None:
    async with opened_service(mongodb, base_url="https://dod.example") as service:
        answer = await service.create(report(), Host="evil.example")
        assert answer.status == 201
        assert answer.headers["Location"].startswith("https://dod.example/fhir/R4/")


@pytest.mark.parametrize(
    ("host", "address", "ours"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("LOCALHOST", "10.0.0.5", True),
        ("[::1]:8080", "::1", True),
        ("10.0.0.5:8080", "10.0.0.5", True),
        ("[2001:db8::5]", "2001:DB8::5", True),
        ("10.0.0.6", "10.0.0.5", False),
        ("dod.example", "10.0.0.5", False),
        ("", "", False),
        ("localhost:8080:1", "127.0.0.1", False),
        ("localhost/x", "127.0.0.1", False),
        ("localhost#", "127.0.0.1", False),
        ("a@localhost", "127.0.0.1", False),
        ("localhost:123456", "127.0.0.1", False),
    ],
)
def test_names_by_which_the_server_knows_itself(host: str, address: str, ours: bool) -> None:
    assert is_ours(host, address) is ours
