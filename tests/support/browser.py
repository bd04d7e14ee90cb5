"""A real Chromium without a window, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

SECONDS = 60.0
"""Longest wait for anything; no test depends on how long it takes."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_LISTENING = re.compile(rb"DevTools listening on (ws://\S+)")
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "about:blank"),
)


class Page:
    """A tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._session: str | None = None
        self.logged: list[str] = []
        """Texts of the console, and of what the browser refused."""

    async def open(self, headers: Mapping[str, str], downloads: Path) -> None:
        """Make the tab; its requests carry these headers."""
        made = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for name in ("Page.enable", "Network.enable", "Runtime.enable", "Log.enable"):
            await self.call(name)
        await self.call("Network.setExtraHTTPHeaders", headers=dict(headers))
        await self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            said["sessionId"] = self._session
        await self._socket.send_json(said)
        while True:
            heard = await self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                result: dict[str, Any] = heard["result"]
                return result

    async def go(self, url: str) -> bool:
        """Go to a page, and wait until it is loaded; False when it is downloaded, or refused, instead."""
        answer = await self.call("Page.navigate", url=url)
        if "errorText" in answer:
            return False
        while (await self._hear()).get("method") != "Page.loadEventFired":
            pass
        return True

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    async def _hear(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            heard: dict[str, Any] = await self._socket.receive_json()
        if heard.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled"):
            self.logged.append(str(heard["params"]))
        return heard


@asynccontextmanager
async def page(folder: Path, headers: Mapping[str, str]) -> AsyncIterator[Page]:
    """A tab of a browser of its own, which ends with it."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        f"--user-data-dir={folder / 'profile'}",
        *_OPTIONS,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SECONDS):
            while (found := _LISTENING.search(await process.stderr.readline())) is None:
                assert process.returncode is None
        draining = asyncio.ensure_future(process.stderr.read())
        async with aiohttp.ClientSession() as session, session.ws_connect(found[1].decode()) as socket:
            tab = Page(socket)
            (folder / "downloads").mkdir()
            await tab.open(headers, folder / "downloads")
            yield tab
        draining.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
