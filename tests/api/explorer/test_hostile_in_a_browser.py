"""Content of strangers in the explorer: nothing of it runs, nothing of it breaks the page."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.support.browser import CHROMIUM
from tests.support.explorer import link, watched
from tests.support.fhir import report, resource

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
RUN = "window.ran = (window.ran || 0) + 1"
SCRIPT = f"<script>{RUN}</script><img src='x' onerror='{RUN}'/><svg onload='{RUN}'></svg>"
BIDI = "\u202etxet desrever\u202d \u2066isolate \u200f"
NARRATIVE = (
    "<div xmlns='http://www.w3.org/1999/xhtml'>"
    f"<p onclick='{RUN}' style='position:fixed;inset:0'>Kept text</p>{SCRIPT}"
    f"<a href='javascript:{RUN}'>a link</a><iframe srcdoc=\"x\"></iframe>"
    f"<form action='//evil.example'><input autofocus='' onfocus='{RUN}'/></form>"
    "<math><mtext><table><mglyph><style><img src='x' onerror='1'/></style></mglyph></table></mtext></math>"
    "<style>body { display: none }</style><link rel='stylesheet' href='//evil.example/x.css'/>"
    "<table><tr><td colspan='9999999'>A cell</td></tr></table></div>"
)


def form(kind: str, content: bytes, title: str) -> dict[str, Any]:
    return {"contentType": kind, "data": base64.b64encode(content).decode(), "title": title}


def hostile() -> dict[str, Any]:
    inner = f"<script>{RUN}</script><rect width='9' height='9'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='{RUN}'>{inner}</svg>"
    html = f"<!doctype html>{SCRIPT}"
    forms = [
        form("application/pdf", html.encode(), f"{SCRIPT}.pdf"),
        form("image/svg+xml", svg.encode(), "../../etc/passwd\u202egnp.svg"),
        form("image/png", html.encode(), "not a picture"),
        form("text/html", html.encode(), "page"),
        form("text/plain", (SCRIPT + "x" * 5_000_000).encode(), BIDI * 20),
        {"contentType": "text/html", "url": "https://evil.example/form", "title": "elsewhere"},
        {"contentType": "application/rtf", "data": "", "title": "nothing in it"},
    ]
    made = report("evil", conclusion=SCRIPT + BIDI + "x" * 100_000, presentedForm=forms)
    return made | {
        "code": {"text": f"{SCRIPT}{BIDI}"},
        "subject": {"reference": "Patient/evil"},
        "result": [{"reference": "Observation/evil"}],
    }


def observation() -> dict[str, Any]:
    return resource(
        "Observation",
        "evil",
        status="final",
        code={"text": SCRIPT},
        subject={"reference": "Patient/evil"},
        valueString=SCRIPT + "y" * 20_000,
        note=[{"text": f"{BIDI}{SCRIPT}"}],
        interpretation=[{"text": SCRIPT}],
        referenceRange=[{"text": SCRIPT}],
        hasMember=[{"reference": "Observation/evil"}],  # Itself: a ring.
    )


SLOPPY = """import('./explorer/static/views/narrative.js').then(({ narrative }) => {
  const text = '<div>5 &lt; 6&nbsp;<br>one<script>window.ran = 9</script><x:y onload="ran = 9">two</div></p>';
  const shown = narrative(text + '<<td>&#99999999;&bogus;<![CDATA[<b>]]>' + '<p'.repeat(100_000));
  document.body.append(shown);
  const names = [...shown.querySelectorAll('*')].map((one) => one.localName).join();
  const read = shown.textContent.slice(0, 60);
  shown.remove();
  return [names, read];
})"""
"""HTML as nobody should write it."""
PERSON = resource(
    "Patient",
    "evil",
    name=[{"family": f"O'{SCRIPT}", "given": [BIDI]}],
    birthDate="1970-01-01",
    identifier=[{"system": "urn:x", "value": "EVIL-1"}],
)


async def let_through(route: Route) -> None:
    """The answer with a narrative and a document that the service refuses to store."""
    answer = await route.fetch()
    bundle = await answer.json()
    for entry in bundle.get("entry", []):
        if entry["resource"]["resourceType"] == "DiagnosticReport":
            entry["resource"]["text"] = {"status": "generated", "div": NARRATIVE}
            entry["resource"]["presentedForm"][6]["data"] = "!!"
    await route.fulfill(response=answer, json=bundle)


async def test_nothing_runs_and_nothing_breaks(  # noqa: PLR0915 -- a walk past all of it
    service: Service, browser: Browser
) -> None:
    await service.load(PERSON, observation(), hostile())
    async with watched(browser, service) as tab:
        page = tab.page
        await page.goto(link(service))
        await page.get_by_label("Identifier").fill("EVIL-1")
        await page.get_by_role("button", name="Search", exact=True).first.click()
        await page.locator(".people .person").click()
        await page.route("**/DiagnosticReport/_search", let_through)
        await page.locator(".year li button").first.click()
        await expect(page.locator(".sheet h1")).to_contain_text("<script>")
        await page.get_by_text("Show", exact=True).click()
        narrative = page.locator(".narrative")
        await expect(narrative).to_contain_text("Kept text")
        names = await narrative.evaluate(
            "node => [...node.querySelectorAll('*')].map((one) => one.localName)"
        )
        assert set(names) <= {"div", "p", "table", "tbody", "tr", "td"}
        attributes = await narrative.evaluate(
            "node => [...node.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
        )
        assert attributes == []
        cards = page.locator("figure.document")
        await expect(cards).to_have_count(7)
        for index in range(1, 5):  # The first is shown by itself.
            await cards.nth(index).get_by_role("button", name="Show here").click()
        await expect(cards.nth(0)).to_contain_text("not what its type says")
        await expect(cards.nth(1).locator("img")).to_be_visible()
        await expect(cards.nth(2)).to_contain_text("not what its type says")
        await expect(cards.nth(3)).to_contain_text("<script>")
        await expect(cards.nth(4).get_by_role("button", name="Show more")).to_be_visible()
        await expect(cards.nth(5)).to_contain_text("Kept at the source")
        await page.get_by_role("button", name="JSON").click()
        await expect(page.locator("dialog pre")).to_contain_text("<script>")
        names, read = await page.evaluate(SLOPPY)
        assert names == "div,br,td"
        assert read.startswith("5 < 6\u00a0onetwo<&#99999999;&bogus;<b><p<p")
        assert await page.evaluate("window.ran") is None
        assert await page.evaluate("document.querySelectorAll('iframe').length") == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        async with page.expect_download() as begun:
            await page.keyboard.press("Escape")
            await cards.nth(1).get_by_role("button", name="Download").click()
        named = (await begun.value).suggested_filename
        assert "/" not in named
        assert "\u202e" not in named
        assert named.endswith(".svg")
        await tab.is_clean()
