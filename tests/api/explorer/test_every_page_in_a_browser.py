"""Every page of the explorer, at a desk in light and on a phone in the dark: no serious finding of axe's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.auth.scopes import ADMIN
from api.demo import years
from api.demo.run import bundles
from tests.support.browser import CHROMIUM
from tests.support.explorer import accessible, link, watched

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from tests.support.explorer import Watched
    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
TODAY: Final = datetime(2026, 6, 1, 9, 20, tzinfo=UTC)
DESK: Final[dict[str, Any]] = {"color_scheme": "light"}
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


async def fits(tab: Watched) -> None:
    """Assert that the page is accessible, and no wider than its window."""
    await accessible(tab)
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def read(tab: Watched, page: Page) -> None:
    """Sign-in, a patient, trends, a report and its versions."""
    await page.locator(".multiple").first.wait_for()
    await fits(tab)
    await page.locator(".multiple", has_text="Potassium").click()
    await page.locator(".chart canvas").wait_for()
    await fits(tab)
    await page.go_back()
    await page.get_by_role("tab", name="Timeline").click()
    await page.locator(".lanes").wait_for()
    await fits(tab)
    await page.locator(".year li button").first.click()
    await page.locator(".version").nth(1).click()
    await fits(tab)
    await page.get_by_role("button", name="JSON").click()
    await page.locator("dialog pre").wait_for()
    await accessible(tab)
    await page.keyboard.press("Escape")


async def operate(tab: Watched, page: Page) -> None:
    """Questions, refused pushes, live and the API."""
    await page.get_by_role("button", name="Find").click()
    await fits(tab)
    await page.get_by_role("tab", name="Reports").click()
    await page.get_by_label("Value").fill(years.NUMBER)
    await page.get_by_label("Explain").check()
    await page.get_by_text("As a request").click()
    await page.get_by_role("button", name="Search", exact=True).last.click()
    await page.locator(".rows").wait_for()
    assert "index: keyed" in await page.locator(".notice").inner_text()
    await fits(tab)
    await page.get_by_role("button", name="Refused pushes").click()
    await page.locator(".feed li button").click()
    await page.get_by_role("button", name="Show the body").click()
    await page.locator(".spot").wait_for()
    await accessible(tab)
    await page.get_by_role("button", name="Edit").click()
    await accessible(tab)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Live").click()
    await page.locator(".live-state.on").wait_for()
    await fits(tab)
    await page.get_by_role("button", name="API").click()
    await page.locator(".operation summary").nth(2).click()
    await fits(tab)


@pytest.mark.parametrize("options", [DESK, PHONE], ids=["desk", "phone"])
async def test_every_page_is_accessible(service: Service, browser: Browser, options: dict[str, Any]) -> None:
    for step in bundles(years.steps(TODAY, visits=4)):
        assert (await service.request("POST", "", data=step.body)).status == 200
    await service.create(years.without_status(TODAY))
    admin = await service.with_token(scopes=["system/*.cruds", ADMIN])
    async with watched(browser, admin, **options) as tab:
        await tab.page.goto(f"{tab.origin}/explorer")
        await fits(tab)
        await tab.page.goto("about:blank")
        await tab.page.goto(f"{link(admin)}&patient={years.PATIENT}")
        await read(tab, tab.page)
        await operate(tab, tab.page)
        await tab.is_clean()
