"""Somebody looks at reports: the explorer in a real Chromium, at a live service with the data of the demo."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from playwright.async_api import expect

from api.demo import years
from api.demo.run import bundles
from tests.support.browser import CHROMIUM
from tests.support.explorer import accessible, link, watched
from tests.support.fhir import coded, report, resource
from tests.support.service import START

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
TODAY = datetime(2026, 6, 1, 9, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
async def two_years(running_service: Service) -> Service:
    tenant = await running_service.new_tenant()
    for step in bundles(years.steps(TODAY, visits=8)):
        answer = await tenant.request("POST", "", data=step.body)
        assert all(entry["response"]["status"][0] == "2" for entry in answer.body["entry"]), answer.text
    return tenant


@pytest.fixture
def demo(two_years: Service) -> Service:
    """Two years of the demo's patient, to be read."""
    two_years.clock.now = START
    return two_years


PROGRAMS = {"curl": ("bash", "-c"), "Python": (sys.executable, "-c")}
"""Requests to copy that a program can run; the token is in its environment."""


async def printed(service: Service, *command: str) -> str:
    token = service.headers["Authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "TOKEN": token}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def find_patient(page: Page) -> None:
    await page.get_by_label("Identifier").fill(years.NUMBER)
    await page.get_by_role("button", name="Search", exact=True).first.click()
    await page.locator(".people .person").click()


async def test_from_the_link_to_a_trend(demo: Service, browser: Browser) -> None:
    async with watched(browser, demo) as tab:
        page = tab.page
        await page.goto(link(demo))
        await find_patient(page)
        assert page.url == f"{tab.origin}/explorer"  # The token has left the address.
        await expect(page.locator(".lanes circle.event").first).to_be_attached()
        await accessible(tab)
        await page.get_by_role("tab", name="Results").click()
        await expect(page.locator(".multiple")).to_have_count(29)
        await accessible(tab)
        await page.locator(".multiple", has_text="Hemoglobin A1c").click()
        await expect(page.locator(".chart canvas")).to_be_visible()
        await expect(page.locator(".rows tbody tr")).to_have_count(8)
        await accessible(tab)
        await page.locator(".rows tbody tr").first.get_by_role("button").click()
        await expect(page.locator(".sheet h1")).to_have_text("Hemoglobin A1c")
        await page.go_back()
        await expect(page.locator(".chart canvas")).to_be_visible()
        token = demo.headers["Authorization"].removeprefix("Bearer ")
        assert not [url for url in tab.asked if token in url or years.NUMBER in url or "Muster" in url]
        await tab.is_clean()


async def test_the_link_of_the_demo_leads_to_results_at_once(demo: Service, browser: Browser) -> None:
    async with watched(browser, demo) as tab:
        page = tab.page
        await page.goto(f"{link(demo)}&patient={years.PATIENT}")
        await expect(page.locator(".multiple", has_text="Hemoglobin A1c").locator(".spark")).to_be_visible()
        assert page.url == f"{tab.origin}/explorer"
        await page.go_back()
        await expect(page.get_by_label("Identifier")).to_be_visible()
        await tab.is_clean()


async def test_a_report_from_hl7v2_shows_its_message(service: Service, browser: Browser) -> None:
    message = (Path(__file__).parents[3] / "samples" / "report.hl7").read_bytes()
    sent = await service.request("POST", "$hl7v2", data=message, content_type="application/hl7-v2")
    assert sent.status == 200, sent.text
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_label("Identifier").fill("MADE-UP-8")
        await page.get_by_role("button", name="Search", exact=True).first.click()
        await page.locator(".rows th button").click()
        await expect(page.locator(".origin")).to_contain_text("LAB HOSPITAL")
        potassium = page.locator("table.results tr", has_text="Potassium")
        await expect(potassium.locator(".figure")).to_have_text("4.20")
        await expect(page.locator(".notes").last).to_contain_text("haemolysed")
        await potassium.hover()
        await potassium.get_by_role("button", name="Trend of").click()
        await expect(page.locator(".person")).to_contain_text("Beispiel, Ada")
        await expect(page.locator(".chart canvas")).to_be_visible()
        await page.go_back()
        await page.get_by_role("button", name="Show the message").click()
        await expect(page.locator("dialog pre")).to_contain_text("OBX|1|NM|2823-3^Potassium^LN||4.20")
        await accessible(tab)
        await tab.is_clean()


async def test_a_result_that_names_another_patient_is_marked(service: Service, browser: Browser) -> None:
    mine, other = ({"reference": f"Patient/{id}"} for id in ("p1", "p2"))
    names = [resource("Patient", id, name=[{"family": f"Family-{id}"}]) for id in ("p1", "p2")]
    more = {"status": "final", "valueQuantity": {"value": 5, "unit": "mmol/L"}}
    results = [
        resource("Observation", "o1", code=coded("2823-3"), subject=mine, **more),
        resource("Observation", "o2", code=coded("2951-2"), subject=other, **more),
    ]
    links = [{"reference": "Observation/o1"}, {"reference": "Observation/o2"}]
    await service.load(*names, *results, report("r1", subject=mine, result=links))
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(f"{link(service)}&patient=p1")
        await page.get_by_role("tab", name="Timeline").click()
        await page.locator(".year li button").click()
        rows = page.locator("table.results tbody tr")
        await expect(rows.nth(1)).to_contain_text("another patient")
        await expect(rows.nth(0)).not_to_contain_text("another patient")
        await expect(rows.nth(1).get_by_role("button")).to_have_count(0)  # No trend under this name.
        await tab.is_clean()


async def test_a_long_document_is_read_from_its_file(service: Service, browser: Browser) -> None:
    text = base64.b64encode(b"A letter. " * 60_000).decode()
    form = {"contentType": "text/plain", "title": "Letter", "data": text}
    await service.load(report("r1", presentedForm=[form]))
    kept = await service.get("DiagnosticReport/r1")
    assert "Binary/" in kept.body["presentedForm"][0]["url"]
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_role("tab", name="Reports").click()
        await page.get_by_label("Parameter").select_option("_id")
        await page.get_by_label("Value").fill("r1")
        await page.get_by_role("button", name="Search", exact=True).last.click()
        await page.locator(".rows th button").click()
        await expect(page.locator(".document-text")).to_contain_text("A letter. A letter.")
        await expect(page.locator(".document-text")).to_contain_text("characters left")
        await page.emulate_media(media="print")
        await expect(page.locator(".bar")).to_be_hidden()
        await tab.is_clean()


async def test_a_report_with_its_history(demo: Service, browser: Browser) -> None:
    async with watched(browser, demo) as tab:
        page = tab.page
        await page.goto(link(demo))
        await find_patient(page)
        await page.locator(".year li button").first.click()
        await expect(page.locator("button.version")).to_have_count(3)
        row = page.locator("table.results tr", has_text="Potassium")
        await expect(row.locator(".figure")).to_have_text("4.4")
        await expect(row).to_contain_text("was 6.2 mmol/L")
        await expect(row.locator(".range")).to_contain_text("3.5 – 5.1")
        await expect(page.locator("table.results tr", has_text="Albumin").locator(".range")).to_contain_text(
            "5.0"
        )
        await expect(page.locator("iframe.pdf")).to_be_visible()
        await expect(page.locator(".origin")).to_contain_text("Correction after a repeated measurement")
        await accessible(tab)
        await page.locator("button.version").nth(1).click()
        await expect(row.locator(".figure")).to_have_text("6.2")
        await expect(row.locator(".flag")).to_contain_text("Critically high")
        await page.locator("button.version").first.click()
        await expect(row.locator(".tag")).to_have_text("preliminary")
        await page.get_by_role("button", name="JSON").click()
        stored = orjson.loads(await page.locator("dialog pre").inner_text())
        assert stored["id"] == years.CORRECTED
        await page.keyboard.press("Escape")
        await expect(page.locator("dialog")).to_have_count(0)
        await tab.is_clean()


async def test_any_question_and_its_request(demo: Service, browser: Browser) -> None:
    async with watched(browser, demo) as tab:
        page = tab.page
        await page.goto(link(demo))
        await page.get_by_role("tab", name="Reports").click()
        await page.get_by_label("Value").fill(years.NUMBER)
        await page.get_by_role("button", name="Add a parameter").click()
        row = page.locator(".query-row").nth(1)
        await row.get_by_label("Value").fill("ge2026")
        await page.get_by_label("Per page").select_option("10")
        await page.get_by_text("As a request").click()
        await expect(page.locator(".request pre")).to_contain_text("patient.identifier=MADE-UP-1961")
        await accessible(tab)
        await page.get_by_role("button", name="Search", exact=True).last.click()
        await expect(page.locator(".rows tbody tr")).to_have_count(5)
        for name, program in PROGRAMS.items():
            await page.get_by_role("button", name=name, exact=True).click()
            text = await page.locator(".request pre").inner_text()
            assert years.CORRECTED in await printed(demo, *program, text), name
        await page.get_by_label("Strict").check()
        await row.get_by_label("Value").fill("yesterday")
        await page.get_by_role("button", name="Search", exact=True).last.click()
        await expect(page.locator(".problem")).to_contain_text("date")
        assert await row.get_by_label("Value").input_value() == "yesterday"
        tab.console = [one for one in tab.console if "status of 400" not in one]
        await tab.is_clean()


async def test_many_reports_come_page_by_page(service: Service, browser: Browser) -> None:
    for step in bundles(years.steps(TODAY, visits=60)):
        assert (await service.request("POST", "", data=step.body)).status == 200
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await find_patient(page)
        rows = page.locator(".year li")
        await expect(rows).to_have_count(100)
        await expect(page.locator(".patient")).to_contain_text("100 newest of 233 reports")
        # On a busy machine the service may say that it took too long: a reader tries again.
        again = page.locator(".problem").get_by_role("button", name="Try again")
        await page.add_locator_handler(again, lambda: again.click())  # noqa: PLW0108 -- Playwright wants a function
        await page.get_by_role("button", name="Load older reports").click()
        await expect(rows).to_have_count(233)
        await expect(page.get_by_role("button", name="Load older reports")).to_have_count(0)
        await page.get_by_role("button", name="Microbiology", exact=True).click()
        await expect(rows).to_have_count(1)
        await page.get_by_role("tab", name="Results").click()
        await expect(page.locator(".multiple")).to_have_count(29)
        await page.get_by_role("button", name="Look further back").click()
        await expect(page.locator(".multiple", has_text="Potassium")).to_contain_text("values")
        await page.locator(".multiple", has_text="Potassium").click()
        await expect(page.locator(".chart")).to_have_attribute(
            "aria-label", "Chart of Potassium: 61 values in mmol/L. The table below has the same."
        )
        await tab.is_clean()


async def test_the_api_by_its_own_description(service: Service, browser: Browser) -> None:
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_role("button", name="API").click()
        await page.get_by_label("Filter").fill("get $everything")
        await expect(page.locator(".operation")).to_have_count(1)
        await page.locator(".operation summary").click()
        await expect(page.locator(".operation")).to_contain_text("_since")
        await accessible(tab)
        await tab.is_clean()


async def test_on_a_phone_by_keyboard(demo: Service, browser: Browser) -> None:
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    async with watched(browser, demo, **phone) as tab:
        page = tab.page
        await page.goto(link(demo))
        await page.get_by_label("Identifier").focus()
        await page.keyboard.type(years.NUMBER)
        await page.keyboard.press("Enter")
        await page.locator(".people .person").focus()
        await page.keyboard.press("Enter")
        await page.locator(".year li button").first.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("table.results")).to_be_visible()
        await accessible(tab)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await tab.is_clean()
