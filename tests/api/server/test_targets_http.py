"""Request targets as proxies send them: links name the server as it was asked for, its port too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.wire import head, wire

if TYPE_CHECKING:
    from tests.support.service import Service


ASKED = (
    ("http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://127.0.0.1:{port}"),
    ("http://127.0.0.1:{port}", "elsewhere.example", "http://127.0.0.1:{port}"),
    ("https://user:secret@127.0.0.1:{port}", "127.0.0.1", "http://127.0.0.1:{port}"),
    ("HTTP://LocalHost:9", "127.0.0.1:{port}", "http://LocalHost:9"),
    ("http://127.0.0.1", "127.0.0.1:{port}", "http://127.0.0.1"),
    ("http://[::1]:81", "127.0.0.1", "http://[::1]:81"),
    ("http://evil.example:{port}", "127.0.0.1:{port}", None),
    ("http://127.0.0.1@evil.example", "127.0.0.1:{port}", None),
)
"""Origin in the target, `Host`, and the origin in links; None: misdirected."""


async def test_absolute_targets(service: Service) -> None:
    port = str(service.client.port)
    path = f"{service.root}/Patient?_id=1"
    for origin, host, linked in ASKED:
        asked = head("GET", origin.replace("{port}", port) + path, service.headers)
        async with wire(service.client) as sent:
            named = f"Host: {host.replace('{port}', port)}\r\n".encode()
            await sent.send(asked.replace(b"Host: 127.0.0.1\r\n", named))
            reply = await sent.reply()
        assert reply.status == (421 if linked is None else 200), (origin, reply)
        if linked is not None:
            body = json.loads(reply.body)
            assert body["link"][0]["url"] == linked.replace("{port}", port) + path
