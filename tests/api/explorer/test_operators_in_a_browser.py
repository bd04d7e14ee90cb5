"""Pages of an operator in the explorer: retention, access, and letters that are being mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect
from prometheus_client import CollectorRegistry

from api.auth.scopes import ADMIN
from api.http.app_keys import POLICIES, STORES
from store.retention.declared import declared
from store.retention.metrics import RetentionMetrics
from tests.support.browser import CHROMIUM
from tests.support.explorer import accessible, link, watched
from tests.support.fhir import patient, report
from tests.support.oauth import key

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
PHONE = {"width": 390, "height": 844}


async def test_retention_and_access(own_service: Service, browser: Browser) -> None:
    service, app = own_service, own_service.client.app
    assert app is not None
    rules = [{"type": "Patient", "without_end": True}]
    await app[POLICIES].put(service.tenant, declared({"keep_days": 30, "rules": rules}), instead_of=0)
    await service.load(patient("p1"), report("r1"))
    await service.register(key("one"), name="Vendor's app")
    service.clock.move(days=31)
    admin = await service.with_token(scopes=["system/*.rs", ADMIN])
    async with watched(browser, admin) as tab:
        page = tab.page
        await page.goto(f"{link(admin)}&page=retention")  # A link to a page, without a patient's value.
        await expect(page.locator("h1")).to_have_text("Retention")
        await expect(page.locator(".card")).to_contain_text("30 days")
        await expect(page.locator(".card .rows")).to_contain_text("without end")
        await expect(page.locator(".page")).to_contain_text("No run has deleted anything")
        await page.get_by_role("button", name="Make the plan").click()
        await expect(page.locator(".rows").nth(1)).to_contain_text("DiagnosticReport")
        sweeping = app[STORES].sweeping
        done = await sweeping.run(
            pace=sweeping.pace(budget=False), metrics=RetentionMetrics(CollectorRegistry())
        )
        assert done
        await page.get_by_role("button", name="Access").click()
        await expect(page.locator(".rows").nth(1)).to_contain_text("Vendor's app")
        await accessible(tab)
        await page.get_by_role("button", name="Retention").click()
        await page.get_by_role("button", name="Receipt ").click()
        await expect(page.locator("dialog")).to_contain_text("past its time")
        await accessible(tab)
        await page.keyboard.press("Escape")
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as a literal it would be one
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await tab.is_clean()
    few = await service.with_token(scopes=["system/*.rs"])
    async with watched(browser, few) as tab:
        await tab.page.goto(link(few))
        for name in ("Retention", "Access"):
            await tab.page.get_by_role("button", name=name).click()
            await expect(tab.page.locator(".empty")).to_contain_text("dod/admin")
        await tab.is_clean()


async def test_a_letter_that_is_closed_loses_nothing_typed(service: Service, browser: Browser) -> None:
    broken = '{"resourceType": "DiagnosticReport", "conclusion": "never closed, "status": }'
    answer = await service.request("POST", "DiagnosticReport", data=broken)
    assert answer.status == 400
    assert "Dead-Letter" in answer.headers
    admin = await service.with_token(scopes=["system/*.cruds", ADMIN])
    async with watched(browser, admin) as tab:
        page = tab.page
        await page.goto(f"{link(admin)}&page=letters")
        await page.locator(".feed li button").first.click()
        await page.get_by_role("button", name="Show the body").click()
        # What is no JSON is shown as it came, with all that is wrong with it.
        await expect(page.locator("dialog pre")).to_contain_text('"never closed, "status": }')
        await page.get_by_role("button", name="Edit").click()
        assert await page.locator("textarea.body").input_value() == broken
        await page.locator("textarea.body").fill("half mended")
        await page.keyboard.press("Escape")
        await page.locator(".feed li button").first.click()
        await page.get_by_role("button", name="Show the body").click()
        await expect(page.locator("textarea.body")).to_have_value("half mended")
        await tab.is_clean()
