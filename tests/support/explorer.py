"""The explorer in a real Chromium, driven by Playwright; everything odd in it is written down."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from tests.support.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

    from tests.support.service import Service

MILLISECONDS = 60_000
"""Longest wait for anything; no test depends on how long it takes."""
expect.set_options(timeout=MILLISECONDS)
FORESEEN = ("status of 401", "status of 403", "ERR_CONNECTION_REFUSED")
"""Lines that Chromium itself writes to the console for answers that a test brings about."""
_AXE = {"resultTypes": ["violations"]}
"""Findings alone: of what is in order, axe would tell each element."""
_AXE_SCRIPT: str = Axe().axe_script
"""Half a megabyte, which a document takes once."""
_VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""


@dataclass  # With a __dict__: Playwright puts its wrapper of a listener there.
class Watched:
    """Page, and what went on in it."""

    page: Page
    origin: str
    console: list[str] = field(default_factory=list)
    """Warnings, errors, and exceptions that nobody caught."""
    elsewhere: list[str] = field(default_factory=list)
    """Requests that did not go to the service."""
    asked: list[str] = field(default_factory=list)
    """Addresses of all requests to the service."""

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in FORESEEN):
            self.console.append(f"{message.text} {message.location}")

    def requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("blob", "data", "chrome", "chrome-extension"):
            return
        (self.asked if request.url.startswith(self.origin) else self.elsewhere).append(request.url)

    async def violations(self) -> list[str]:
        """Violations of the Content-Security-Policy."""
        found: list[str] = await self.page.evaluate("window.violations")
        return found

    async def is_clean(self) -> None:
        """Assert that nothing odd went on."""
        assert self.console == [], self.console
        assert self.elsewhere == [], self.elsewhere
        violated = await self.violations()
        assert violated == [], violated


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    async with async_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=options, timeout=MILLISECONDS * 3
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def watched(browser: Browser, service: Service, **context: Any) -> AsyncIterator[Watched]:
    """A page of its own at the explorer's sign-in, whose every doing is watched."""
    made: BrowserContext = await browser.new_context(
        **{"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **context}
    )
    made.set_default_timeout(MILLISECONDS)
    await made.add_init_script(_VIOLATIONS)
    page = await made.new_page()
    origin = str(service.client.make_url("/")).rstrip("/")
    tab = Watched(page, origin)
    page.on("console", tab.heard)
    page.on("pageerror", lambda error: tab.console.append(str(error)))
    page.on("request", tab.requested)
    try:
        yield tab
    finally:
        await made.close()


def link(service: Service) -> str:
    """The address that signs in, as the demo prints it."""
    token = service.headers["Authorization"].removeprefix("Bearer ")
    return f"{service.client.make_url('/explorer')}#tenant={service.tenant}&token={token}"


async def accessible(tab: Watched) -> None:
    """No finding of axe's that is serious."""
    if not await tab.page.evaluate("'axe' in window"):
        await tab.page.evaluate(_AXE_SCRIPT)
    found = await tab.page.evaluate(f"axe.run({json.dumps(_AXE)}).then(({{ violations }}) => violations)")
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
