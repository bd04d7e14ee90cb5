"""Documents of strangers, opened in a real Chromium at our own address: nothing in them ever runs.

Each document tells a beacon of its own when a script of it runs. A page of the beacon shows that the browser
runs scripts and that the beacon hears of it.
"""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.browser import CHROMIUM, page
from tests.support.fhir import report, resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]


class Beacon:
    """A server of somebody else's, which hears from scripts."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.frames: list[str] = []
        app = web.Application()
        app.router.add_get("/heard/{name}", self._hear)
        app.router.add_get("/control", self._control)
        app.router.add_get("/framing", self._framing)
        self.server = TestServer(app)

    def script(self, name: str) -> str:
        return f"new Image().src='{self.server.make_url('/heard/')}{name}'; document.title='ran'"

    async def _hear(self, request: web.Request) -> web.Response:
        self.heard.append(request.match_info["name"])
        return web.Response(status=204)

    async def _control(self, _: web.Request) -> web.Response:
        text = f"<img src='{self.server.make_url('/heard/control')}'><script>{self.script('script')}</script>"
        return web.Response(text=text, content_type="text/html")

    async def _framing(self, _: web.Request) -> web.Response:
        parts = [f"<iframe src='{url}'></iframe><object data='{url}'></object>" for url in self.frames]
        return web.Response(text="".join(parts), content_type="text/html")


@asynccontextmanager
async def beacon() -> AsyncIterator[Beacon]:
    made = Beacon()
    async with made.server:
        yield made


def documents(of: Beacon) -> dict[str, tuple[str | None, bytes]]:
    """Name → content type and content; each runs its script if a browser lets it."""

    def html(name: str) -> bytes:
        return f"<!doctype html><html><body><script>{of.script(name)}</script></body></html>".encode()

    def svg(name: str) -> bytes:
        return f"<svg xmlns='http://www.w3.org/2000/svg'><script>{of.script(name)}</script></svg>".encode()

    def xhtml(name: str) -> bytes:
        inner = f"<body><script>{of.script(name)}</script></body>"
        return f"<html xmlns='http://www.w3.org/1999/xhtml'>{inner}</html>".encode()

    return {
        "html": ("text/html", html("html")),
        "html-utf8": ("text/html; charset=utf-8", html("html-utf8")),
        "svg": ("image/svg+xml", svg("svg")),
        "xhtml": ("application/xhtml+xml", xhtml("xhtml")),
        "xml": ("text/xml", xhtml("xml")),
        "text": ("text/plain", html("text")),
        "pdf": ("application/pdf", html("pdf")),
        "png": ("image/png", html("png")),
        "odd": ("text/html-ish", html("odd")),
        "untyped": (None, html("untyped")),
        "mhtml": ("multipart/related", html("mhtml")),
    }


async def test_nothing_in_a_document_runs(service: Service, tmp_path: Path) -> None:
    async with beacon() as of, page(tmp_path, service.headers) as tab:
        urls: dict[str, str] = {}
        for name, (kind, content) in documents(of).items():
            typed = {} if kind is None else {"contentType": kind}
            data = base64.b64encode(content).decode()
            small = resource(
                "Binary", name, **{"contentType": "application/octet-stream", **typed}, data=data
            )
            assert (await service.put(small)).status == 201
            urls[name] = f"{service.base}/Binary/{name}"
            filler = base64.b64encode(content + b"<!--" + b" " * 100_000 + b"-->").decode()
            large = report(f"r-{name}", presentedForm=[{**typed, "data": filler}])
            kept = await service.put(large)
            assert kept.status == 201, kept.text
            where = kept.body["presentedForm"][0]["url"]
            urls[f"{name}-file"] = where if where.startswith("http") else f"{service.base}/{where}"
        shown = {name: await tab.go(url) for name, url in urls.items()}
        assert not any(shown.values()), shown  # Each is handed over as a file.
        of.frames = list(urls.values())
        await tab.go(str(of.server.make_url("/framing")))
        # The resources themselves, with markup in them, as a browser asks for them.
        narrative = f"<div xmlns='http://www.w3.org/1999/xhtml'><script>{of.script('div')}</script></div>"
        marked = report("marked", conclusion=f"<script>{of.script('text-of-report')}</script>")
        marked["text"] = {"status": "generated", "div": narrative}
        await service.put(marked)
        for path in ("DiagnosticReport/marked", "DiagnosticReport?_id=marked", "Binary/html?_format=json"):
            await tab.go(f"{service.base}/{path}")
            assert await tab.evaluate("document.title") != "ran"
        odd = "<script>document.title='ran'</script>"
        await tab.go(f"{service.base}/DiagnosticReport?{odd}=1")
        assert await tab.evaluate("document.title") != "ran"
        assert of.heard == []
        assert await tab.go(str(of.server.make_url("/control")))
        assert set(of.heard) == {"control", "script"}  # The browser does run scripts, elsewhere.
