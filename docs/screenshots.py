"""Pictures of the explorer for README and the pages: `make screenshots` walks through the demo."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import async_playwright

from api.demo.years import NUMBER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

IMAGES: Final = Path(__file__).parent / "images"
ROOT: Final = Path(__file__).parent.parent
CHROMIUM: Final = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DESK: Final[dict[str, Any]] = {"viewport": {"width": 1440, "height": 1000}}
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
WANTED: Final = frozenset(
    "report report-dark report-phone trend trend-dark trend-phone patient results letter".split()
)
"""Pictures that some page shows."""
_LINK: Final = re.compile(r"http\S+/explorer#\S+")


@asynccontextmanager
async def demo(folder: str) -> AsyncIterator[str]:
    """The link of a running `dod demo`."""
    settings = {"DOD_DATA_DIR": folder, "DOD_PORT": "0", "DOD_ADMIN_PORT": "0", "DOD_DRAIN_SECONDS": "0"}
    command = [sys.executable, "-c", "from api.cli.main import main; main()", "demo"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, **settings}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        found = None
        async for line in process.stdout:
            found = found or _LINK.search(line.decode())
            if b"Serving until" in line:
                break
        if found is None:
            raise SystemExit("The demo printed no link.")
        yield found[0]
    finally:
        process.terminate()
        await process.wait()


async def walk(page: Page, link: str, name: str) -> None:
    """Find the demo's patient, and take pictures on the way."""

    async def picture(what: str) -> None:
        if f"{what}{name}" not in WANTED:
            return
        await page.wait_for_load_state("networkidle")
        await page.wait_for_timeout(1_500)  # The PDF is drawn by a process of its own.
        await page.screenshot(path=IMAGES / f"{what}{name}.png")

    await page.goto(link.partition("&patient=")[0])
    await page.get_by_label("Identifier").fill(NUMBER)
    await page.get_by_role("button", name="Search", exact=True).first.click()
    await page.locator(".people .person").click()
    await page.locator(".lanes").wait_for()
    await picture("patient")
    await page.get_by_role("tab", name="Results").click()
    await page.locator(".multiple").first.wait_for()
    await picture("results")
    await page.locator(".multiple", has_text="Hemoglobin A1c").click()
    plot = page.locator(".chart .u-over")
    await plot.wait_for()
    box = await plot.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.62, box["y"] + box["height"] * 0.6)
    await picture("trend")
    await page.go_back()
    await page.get_by_role("tab", name="Timeline").click()
    await page.locator(".year li button").first.click()
    await page.locator("button.version").first.wait_for()
    await picture("report")


async def pictures(browser: Browser, link: str) -> None:
    """A desk in light and dark, and a phone."""
    views = (("", {**DESK}), ("-dark", {**DESK, "color_scheme": "dark"}), ("-phone", PHONE))
    for name, options in views:
        context = await browser.new_context(**options)
        await walk(await context.new_page(), link, name)
        await context.close()


async def main() -> None:
    """Make all pictures anew."""
    if CHROMIUM is None:
        raise SystemExit("Pictures are taken with a Chromium: Debian's package chromium.")
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        async with demo(folder) as link, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            await pictures(browser, link)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
