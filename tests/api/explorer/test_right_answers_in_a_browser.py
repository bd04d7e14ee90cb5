"""Right answers in the explorer: to the last question, with the results of then, from this server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.support.browser import CHROMIUM
from tests.support.explorer import link, watched
from tests.support.fhir import coded, refers, report, resource

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

    from tests.support.service import Json, Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
LOINC = "http://loinc.org"


def person(id: str, family: str, number: str) -> Json:
    return resource(
        "Patient", id, name=[{"family": family}], identifier=[{"system": "urn:x", "value": number}]
    )


def result(id: str, title: str, code: str, **value: Any) -> Json:
    made = {"status": "final", "code": {**coded(code, LOINC), "text": title}, "subject": refers("Patient/p1")}
    return resource("Observation", id, **made, effectiveDateTime="2026-03-02T08:00:00Z", **value)


def amount(value: float, unit: str = "mmol/L") -> Json:
    return {"valueQuantity": {"value": value, "unit": unit, "code": unit}}


async def open_report(page: Page, service: Service, id: str) -> None:
    await page.goto("about:blank")
    await page.goto(f"{link(service)}&report={id}")
    await expect(page.locator(".sheet h1")).to_be_visible()


async def test_an_older_answer_is_never_shown_under_a_newer_question(
    service: Service, browser: Browser
) -> None:
    await service.load(person("p1", "First", "ONE"), person("p2", "Second", "TWO"))
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if "ONE" in (route.request.post_data or ""):
            held.append(route)
        else:
            await route.continue_()

    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_label("Identifier").fill("ONE")
        await page.route("**/Patient/_search", hold)
        await page.keyboard.press("Enter")
        await expect(page.locator(".found .skeleton")).to_be_visible()
        await page.get_by_label("Identifier").fill("TWO")
        await page.keyboard.press("Enter")
        await expect(page.locator(".people .person")).to_contain_text("Second")
        for route in held:
            await route.continue_()
        await page.unroute("**/Patient/_search")
        await page.get_by_role("button", name="Live").click()
        await page.go_back()
        await expect(page.locator(".people .person")).to_contain_text("Second")
        await expect(page.locator(".people .person")).to_have_count(1)
        await tab.is_clean()


async def test_the_results_of_a_version_are_those_of_then(service: Service, browser: Browser) -> None:
    panel = [result(f"o{n}", f"Test {n}", f"{n}-1", **amount(1.0)) for n in range(70)]
    names = [refers(f"Observation/o{n}") for n in range(70)]
    await service.load(person("p1", "First", "ONE"))
    await service.load(*panel)
    await service.load(report("r1", result=names))
    service.clock.move(minutes=1)
    # All of them change, one is taken out of the report and deleted.
    await service.load(*(result(f"o{n}", f"Test {n}", f"{n}-1", **amount(2.0)) for n in range(1, 70)))
    await service.load(report("r1", result=names[1:], status="corrected"))
    assert (await service.request("DELETE", "Observation/o0")).status == 204
    async with watched(browser, service) as tab:
        page = tab.page
        await open_report(page, service, "r1")
        await expect(page.locator(".changes")).to_contain_text("Test 0: no longer in the report")
        await page.locator("button.version").first.click()
        rows = page.locator("table.results tbody tr")
        await expect(rows).to_have_count(70)
        figures = await page.locator("table.results .figure").all_inner_texts()
        assert set(figures) == {"1.0"}
        # On paper it says that it is not the current one.
        await page.emulate_media(media="print")
        await expect(page.locator(".notice")).to_contain_text("The current one is version 2")
        await expect(page.locator(".bar")).to_be_hidden()
        await tab.is_clean()


async def test_contained_results_and_very_many_of_them(service: Service, browser: Browser) -> None:
    inner = [
        {**result("part", "Inner test", "5-5", **amount(7.0)), "subject": refers("Patient/p1")},
        {**result("panel", "Inner panel", "6-6"), "hasMember": [refers("#part")]},
    ]
    await service.load(person("p1", "First", "ONE"))
    many = [result(f"m{n}", f"Of many {n}", "7-7", **amount(float(n))) for n in range(1_050)]
    await service.load(*many)
    await service.load(report("r1", contained=inner, result=[refers("#panel")]))
    await service.load(report("r2", result=[refers(f"Observation/m{n}") for n in range(1_050)]))
    async with watched(browser, service) as tab:
        page = tab.page
        await open_report(page, service, "r1")
        await expect(page.locator("table.results")).to_contain_text("Inner test")
        assert "not stored here" not in await page.locator(".sheet").inner_text()
        await open_report(page, service, "r2")
        await expect(page.locator(".person.in-sheet")).to_contain_text("First")
        assert await page.locator("table.results tbody tr").count() == 1_050
        assert await page.get_by_text("not stored here").count() == 0
        await tab.is_clean()


async def test_what_is_on_another_server_is_not_taken_for_ours(service: Service, browser: Browser) -> None:
    path = f"/fhir/R4/{service.tenant}"
    stored = {"contentType": "text/plain", "data": base64.b64encode(b"OURS" * 40_000).decode()}
    await service.load(person("p1", "First", "ONE"), report("mine", presentedForm=[stored]))
    kept = (await service.get("DiagnosticReport/mine")).body["presentedForm"][0]["url"]
    theirs = f"https://other.example{path}/{kept[kept.index('Binary/') :]}"
    await service.load(
        report("r1", presentedForm=[{"contentType": "text/plain", "url": theirs}, {"url": "javascript:1"}])
    )
    async with watched(browser, service) as tab:
        page = tab.page
        await open_report(page, service, "r1")
        cards = page.locator("figure.document")
        await expect(cards.nth(0)).to_contain_text("Kept at the source, not here")
        await expect(cards.nth(1)).to_contain_text("javascript:1")
        await expect(page.locator("figure.document button")).to_have_count(0)
        await tab.is_clean()


async def test_results_in_words_have_their_course_too(service: Service, browser: Browser) -> None:
    found = {"valueCodeableConcept": {"text": "Detected"}}
    await service.load(
        person("p1", "First", "ONE"),
        result("v1", "Virus RNA", "8-8", **found),
        result("v2", "Virus RNA", "8-8", **amount(120.0, "copies")),
        result(
            "t1",
            "Antibody titre",
            "9-9",
            valueRatio={"numerator": {"value": 1}, "denominator": {"value": 64}},
        ),
    )
    await service.load(report("r1", result=[refers(f"Observation/{id}") for id in ("v1", "v2", "t1")]))
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(f"{link(service)}&patient=p1")
        titre = page.locator(".multiple", has_text="Antibody titre")
        await expect(titre).to_contain_text("1 : 64")
        await titre.click()
        await expect(page.locator(".rows tbody tr")).to_contain_text("1 : 64")
        await page.go_back()
        await expect(titre).to_be_focused()  # Who comes back goes on where they were.
        await page.locator(".multiple", has_text="Detected").click()
        await expect(page.locator(".chart canvas")).to_be_visible()
        await expect(page.locator(".page")).to_contain_text("1 value in words is in the table only")
        await expect(page.locator(".rows tbody tr")).to_have_count(2)
        await page.get_by_role("button", name="Report", exact=True).first.click()
        await expect(page.locator(".sheet h1")).to_be_visible()
        await tab.is_clean()


async def test_any_resource_of_a_search_can_be_opened(service: Service, browser: Browser) -> None:
    await service.load(person("p1", "First", "ONE"), result("v1", "Virus RNA", "8-8", **amount(1.0)))
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_role("tab", name="Reports").click()
        await page.get_by_label("Search for").select_option("Observation")
        await page.get_by_label("Value").fill("ONE")
        await page.get_by_role("button", name="Search", exact=True).last.click()
        await expect(page.locator(".rows tbody tr")).to_contain_text("First")  # Whose it is, by name.
        await page.get_by_role("button", name="Virus RNA").click()
        await expect(page.locator("dialog pre")).to_contain_text('"valueQuantity"')
        await tab.is_clean()
