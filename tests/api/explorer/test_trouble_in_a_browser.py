"""Trouble: a token ends, a service is away, an answer takes long. Nothing typed is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from bson import Timestamp
from playwright.async_api import expect

from api.auth.scopes import ADMIN
from api.auth.tokens import digest
from store.mongo.indexes import CHANGE_STATE
from tests.support.browser import CHROMIUM
from tests.support.explorer import link, watched
from tests.support.fhir import report, resource
from tests.support.service import opened_service

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

    from store.mongo.driver.client import Client
    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
PERSON = resource(
    "Patient", "p1", name=[{"family": "Muster"}], identifier=[{"system": "urn:x", "value": "NUMBER-1"}]
)


async def test_a_token_that_ends_while_reading(service: Service, browser: Browser) -> None:
    await service.load(PERSON, report("r1"))
    short = await service.with_token(scopes=["system/*.rs"])
    async with watched(browser, short) as tab:
        page = tab.page
        await page.goto(link(short))
        await page.get_by_label("Identifier").fill("NUMBER-1")
        held: list[Route] = []
        await page.route("**/DiagnosticReport/_search", lambda route: held.append(route))  # noqa: PLW0108 -- Playwright wants a function
        await service.access.revoke(digest(short.headers["Authorization"].removeprefix("Bearer ")))
        await page.get_by_role("button", name="Search", exact=True).first.click()
        dialog = page.locator("dialog")
        await expect(dialog).to_contain_text("no longer valid")
        await page.keyboard.press("Escape")  # No way around it, but nothing is lost.
        await expect(page.locator(".problem")).to_contain_text("no longer valid")
        async with page.expect_response("**/DiagnosticReport/_search"):
            await held[0].continue_()  # One that was under way asks for no token any more.
        await page.unroute("**/DiagnosticReport/_search")
        await expect(dialog).to_have_count(0)
        await page.get_by_role("button", name="Try again").click()
        # One that is good elsewhere is not taken: it would leave nothing but refusals.
        other = (await service.new_tenant()).headers["Authorization"].removeprefix("Bearer ")
        await dialog.get_by_label("Access token").fill(other)
        await dialog.get_by_role("button", name="Go on").click()
        await expect(dialog.locator(".problem")).to_contain_text("does not allow")
        await dialog.get_by_label("Access token").fill(
            service.headers["Authorization"].removeprefix("Bearer ")
        )
        await dialog.get_by_role("button", name="Go on").click()
        await expect(page.locator(".people .person")).to_have_count(1)
        assert await page.get_by_label("Identifier").input_value() == "NUMBER-1"
        await tab.is_clean()


async def test_a_wrong_token_is_told_at_the_door(service: Service, browser: Browser) -> None:
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(f"{tab.origin}/explorer")
        await page.get_by_label("Tenant").fill("acme")
        await page.get_by_label("Access token").fill("dod_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator(".notice")).to_contain_text("organization/environment")
        await page.get_by_label("Tenant").fill(str(service.tenant))
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator(".problem")).to_contain_text("The token is not valid")
        assert await page.get_by_label("Access token").input_value() == "dod_wrong"
        await tab.is_clean()


async def test_a_service_that_is_away_or_slow(service: Service, browser: Browser) -> None:
    await service.load(PERSON)
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_label("Identifier").fill("NUMBER-1")
        await page.route("**/_search", lambda route: route.abort("connectionrefused"))
        await page.get_by_role("button", name="Search", exact=True).first.click()
        await expect(page.locator(".problem")).to_contain_text("cannot be reached")
        await page.unroute("**/_search")
        held: list[Route] = []
        await page.route("**/Patient/_search", lambda route: held.append(route))  # noqa: PLW0108 -- Playwright wants a function
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".waiting")).to_contain_text("Still waiting")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator(".notice")).to_contain_text("Cancelled")
        await page.unroute("**/Patient/_search")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".people .person")).to_have_count(1)
        await tab.is_clean()


async def test_a_token_with_few_rights(service: Service, browser: Browser) -> None:
    await service.load(PERSON, report("r1", subject={"reference": "Patient/p1"}))
    few = await service.with_token(scopes=["system/DiagnosticReport.rs"])
    async with watched(browser, few) as tab:
        page = tab.page
        await page.goto(link(few))
        await page.get_by_role("tab", name="Reports").click()
        await page.get_by_label("Chain").fill("")
        await page.get_by_label("Value").fill("Patient/p1")
        await page.get_by_role("button", name="Search", exact=True).last.click()
        await page.locator(".rows th button").click()
        await expect(page.locator(".sheet h1")).to_be_visible()  # Without what it refers to.
        await page.get_by_role("button", name="Refused pushes").click()
        await expect(page.locator(".empty")).to_contain_text("dod/admin")
        await tab.is_clean()


async def test_a_refused_push_is_mended_and_replayed(service: Service, browser: Browser) -> None:
    await service.load(PERSON)
    wrong = report("r9", subject={"reference": "Patient/p1"})
    del wrong["status"]
    assert (await service.put(wrong)).status == 422
    admin = await service.with_token(scopes=["system/*.cruds", ADMIN])
    async with watched(browser, admin) as tab:
        page = tab.page
        await page.goto(link(admin))
        await page.get_by_role("button", name="Refused pushes").click()
        await page.locator(".feed li button").click()
        await page.get_by_role("button", name="Show the body").click()
        await expect(page.locator(".why")).to_contain_text("DiagnosticReport.status")
        await page.get_by_role("button", name="Edit").click()
        body = page.locator("textarea.body")
        await body.fill((await body.input_value()).replace('"code"', '"status": "final", "code"', 1))
        await page.get_by_role("button", name="Save this body").click()
        await expect(page.locator("dialog")).to_contain_text("Saved")
        await page.get_by_role("button", name="Replay", exact=True).click()
        await expect(page.locator("dialog")).to_contain_text("Stored")
        assert (await service.get("DiagnosticReport/r9")).body["status"] == "final"
        await page.keyboard.press("Escape")
        await expect(page.locator(".empty")).to_contain_text("No refused push")
        await tab.is_clean()


async def test_what_is_pushed_appears_once(mongodb: str, mongo_client: Client, browser: Browser) -> None:
    """Also when MongoDB's log is lost on the way, and a scan tells again what was told."""
    database = f"dod_{uuid4().hex[:12]}"
    async with opened_service(mongodb, changes_look_seconds=0.02, mongodb_database=database) as service:
        await service.load(PERSON)
        admin = await service.with_token(scopes=["system/*.cruds", ADMIN])
        async with watched(browser, admin) as tab:
            page = tab.page
            await page.goto(link(admin))
            await page.get_by_role("button", name="Live").click()
            await expect(page.locator(".live-state")).to_have_text("Listening")
            made = report("r1", subject={"reference": "Patient/p1"}, code={"text": "Pushed just now"})
            await service.load(report("r2", performer=[{"display": "Another laboratory"}]))
            await service.load(made)
            row = page.locator(".feed li", has_text="Pushed just now")
            await expect(row).to_contain_text("Muster")
            await expect(row).to_contain_text("created")
            lost = {"token": None, "start": Timestamp(1, 1)}
            await mongo_client[database][CHANGE_STATE].update_one({"_id": "log"}, {"$set": lost})
            await service.load(made | {"status": "corrected"})
            await expect(page.locator(".feed li", has_text="Pushed just now")).to_have_count(2)
            await page.get_by_label("All sources").select_option("Another laboratory")
            await expect(page.locator(".feed li:visible")).to_have_count(1)
            await page.get_by_label("All sources").select_option("")
            await page.get_by_role("button", name="Pause").click()
            await expect(page.locator(".live-state")).to_have_text("Paused")
            await row.first.get_by_role("button").click()
            await expect(page.locator(".sheet h1")).to_have_text("Pushed just now")
            await tab.is_clean()
