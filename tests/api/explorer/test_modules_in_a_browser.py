"""The explorer's pure modules, as Chromium runs them: tables of what goes in and what comes out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import CHROMIUM
from tests.support.explorer import watched

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
VALUES = "values.js"
LAYOUT = "views/layout.js"
BODY = (
    '{"resourceType":"Bundle","entry":[{"a":1.00},'
    '{"resource":{"status":[],"code":{"text":"a:{,}\\""},"code":2}}]}'
)
LINES = f"m.layout({json.dumps(BODY)})"
RESOURCE = "entry[1].resource"
CASES: list[tuple[str, str, Any]] = [
    ("json.js", "[m.parse('[1.00,-2.50e3,\"1.0\"]').map(String).join()]", ["1.00,-2.50e3,1.0"]),
    ("json.js", '[m.parseMarked(\'{"a":[1.00,"2.0",-3e5]}\').a.map(String).join()]', ["1.00,2.0,-3e5"]),
    ("json.js", 'm.parseMarked(\'"a \\\\" 5.0 b"\')', 'a " 5.0 b'),
    ("json.js", "m.same({a: 1, b: [2]}, {b: [2], a: 1})", True),
    ("json.js", "m.same(m.parse('1.0'), m.parse('1.00'))", False),
    (VALUES, "m.date('2026')", "2026"),
    (VALUES, "m.date('2026-03')", "Mar 2026"),
    (VALUES, "m.date('2026-03-02')", "2 Mar 2026"),
    (VALUES, "m.date('2026-03-02T08:15:00+01:00')", "2 Mar 2026, 08:15 (+01:00)"),
    (VALUES, "m.date('2026-03-02T08:15:00.120Z')", "2 Mar 2026, 08:15 UTC"),
    (VALUES, "m.date('yesterday')", "yesterday"),
    (VALUES, "m.instant('nonsense')", ""),
    (VALUES, "m.time('2026-01')", 1_767_225_600_000),
    (VALUES, "m.age('2000-02-29', new Date('2026-02-28T12:00:00Z'))", 25),
    (VALUES, "m.age('2000')", None),
    (VALUES, "m.name([{use: 'old', family: 'A'}, {family: 'B', given: ['C', 'D']}])", "B, C D"),
    (VALUES, "m.concept([{coding: [{code: 'x'}, {display: 'Y'}]}])", "Y"),
    (VALUES, "m.concept(null) + m.concept('text') + m.concept([{}])", "text"),
    (
        VALUES,
        "m.codeKey({coding: [{code: 'a'}, {system: 'http://loinc.org', code: 'b'}]})",
        "http://loinc.org|b",
    ),
    (VALUES, "m.rangeText({low: {value: 1}, high: {value: 2}})", "1 – 2"),
    (VALUES, "m.rangeText({high: {value: 2}}) + m.rangeText({low: {value: 1}})", "≤ 2≥ 1"),
    (VALUES, "m.valueOf({valueRatio: {numerator: {value: 1}, denominator: {value: 64}}}).text", "1 : 64"),
    (VALUES, "m.valueOf({dataAbsentReason: {text: 'Not performed'}}).text", "Not performed"),
    (VALUES, "m.quantity({comparator: '<', value: 5})", "< 5"),
    (VALUES, "m.flagsOf({interpretation: [{coding: [{code: 'HH'}]}]})[0].kind", "critical"),
    (VALUES, "m.identifierText({value: '7'}) + m.identifierText(undefined)", "7"),
    ("views/patient.js", "m.pairsOf({identifier: {value: '7'}}).join()", "patient.identifier,|7"),
    (
        "views/patient.js",
        "m.pairsOf({identifier: {system: 'urn:a|b', value: '7,8'}}).join()",
        "patient.identifier,urn:a\\|b|7\\,8",
    ),
    ("views/bar.js", "m.scale(3.5, 5.1, 4).map((one) => one.toFixed(1)).join()", "2.7,5.9"),
    ("views/bar.js", "m.scale(NaN, 35, 28)[0]", 0),
    ("views/bar.js", "m.rangeBar(6, {low: 3.5, high: 5.1}).getAttribute('class')", "range-bar above"),
    ("views/bar.js", "m.rangeBar(6, {low: NaN, high: NaN})", None),
    (LAYOUT, f"{LINES}.map((one) => one.text.trim()).join('').replaceAll('\": ', '\":')", BODY),
    (
        LAYOUT,
        f"{LINES}[m.nearest({LINES}, 'Bundle.entry[1].resource.code.text')].path",
        f"{RESOURCE}.code.text",
    ),
    (LAYOUT, f"{LINES}[m.nearest({LINES}, 'Bundle.entry[1].resource.subject')].path", RESOURCE),
    (LAYOUT, "m.layout('no json at all').length + m.layout('').length", 1),
]


async def test_each_function_gives_what_its_row_says(service: Service, browser: Browser) -> None:
    async with watched(browser, service) as tab:
        await tab.page.goto(f"{tab.origin}/explorer")
        wrong = []
        for module, expression, expected in CASES:
            found = await tab.page.evaluate(f"import('./explorer/static/{module}').then((m) => {expression})")
            if found != expected:
                wrong.append((expression, found, expected))
        assert wrong == []
        await tab.is_clean()
