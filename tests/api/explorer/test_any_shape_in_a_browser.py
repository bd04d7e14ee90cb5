"""Every element of a report in a wrong shape, one after another: each page is drawn nevertheless.

What the service refuses to store may still come from an older release, another server or a proxy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import CHROMIUM
from tests.support.explorer import watched
from tests.support.fhir import coded, refers, resource

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.support.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.mongo,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: Debian's package chromium"),
]
LOINC = "http://loinc.org"
SHAPES: list[Any] = [None, 5, "constructor", {}, [None], "<img src=x onerror='window.ran = 1'>", "9" * 300]
"""Values in the place of each element; a name that every JavaScript object knows among them."""


EVERY = "ANY_SHAPE" in os.environ
"""Whether each element takes each shape, which takes minutes, or two of them in turn."""


def observation(id: str, **more: Any) -> dict[str, Any]:
    return resource(
        "Observation",
        id,
        **{
            "meta": {"versionId": "2"},
            "status": "final",
            "code": {**coded("1-1", LOINC), "text": "Test"},
            "subject": refers("Patient/p1"),
            "effectiveDateTime": "2026-01-01",
            "interpretation": [coded("H")],
            "note": [{"text": "note"}],
            "bodySite": {"text": "arm"},
            "device": {"display": "meter"},
            "referenceRange": [
                {"low": {"value": 1}, "high": {"value": 2}, "appliesTo": [{"text": "all"}]},
                {"low": {"value": 3}, "type": {"coding": [{"code": "normal"}]}},
            ],
            **more,
        },
    )


RESOURCES = [
    resource(
        "DiagnosticReport",
        "r1",
        meta={
            "versionId": "2",
            "lastUpdated": "2026-01-01T00:00:00Z",
            "source": "urn:x",
            "tag": [{"code": "t"}],
        },
        text={"div": "<div>told</div>"},
        contained=[resource("Observation", "in", status="final", code={"text": "inner"}, valueString="x")],
        identifier=[{"type": {"text": "ACSN"}, "value": "1"}],
        basedOn=[refers("ServiceRequest/s1")],
        status="final",
        category=[coded("LAB")],
        code={"text": "Panel"},
        subject=refers("Patient/p1"),
        effectivePeriod={"start": "2026-01-01", "end": "2026-01-02"},
        issued="2026-01-01T00:00:00Z",
        performer=[{"reference": "Organization/o1", "display": "Laboratory"}],
        specimen=[refers("Specimen/sp1")],
        result=[refers("Observation/o1"), refers("#in")],
        media=[{"link": refers("Media/m1")}],
        conclusion="told",
        conclusionCode=[{"text": "told"}],
        presentedForm=[
            {"contentType": "text/plain", "data": "eA==", "title": "t", "size": 1, "creation": "2026"}
        ],
    ),
    observation(
        "o1",
        valueQuantity={"value": 1.5, "unit": "mg", "code": "mg", "comparator": "<"},
        component=[{"code": coded("1-1", LOINC), "valueRatio": {"numerator": {"value": 1}}}],
        hasMember=[refers("Observation/o2")],
    ),
    observation("o2", valueCodeableConcept={"coding": [{"code": "x", "display": "X"}]}),
    observation("o3", valueQuantity={"value": 2, "unit": "mg", "code": "mg"}),
    resource(
        "Patient",
        "p1",
        name=[{"use": "official", "family": "F", "given": ["G"]}],
        birthDate="1970-01-01",
        gender="male",
        deceasedDateTime="2020",
        identifier=[{"type": coded("MR"), "value": "1"}],
    ),
    resource("Organization", "o1", name="Laboratory"),
    {**resource("Specimen", "sp1"), "type": {"text": "blood"}, "collection": {"collectedDateTime": "2026"}},
    resource("ServiceRequest", "s1", code={"text": "order"}),
    resource("Media", "m1", content={"contentType": "image/png", "data": "iVBORw0KGgo="}),
    resource(
        "Provenance",
        "v1",
        target=[refers("DiagnosticReport/r1")],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"type": {"text": "author"}, "who": {"display": "w"}}],
        entity=[{"what": {"reference": "Binary/b2", "display": "d"}}],
    ),
]
DRAWN = (Path(__file__).parent / "any_shape.js").read_text()
"""Program that draws three pages for each element and shape, in the page; gives what failed."""


async def test_every_element_may_have_any_shape(service: Service, browser: Browser) -> None:
    async with watched(browser, service) as tab:
        await tab.page.goto(f"{tab.origin}/explorer")
        drawn, count, failures, ran = await tab.page.evaluate(DRAWN, [json.dumps(RESOURCES), SHAPES, EVERY])
        assert failures == [], "\n".join([str(count), *failures])
        assert drawn > 300
        assert ran is None
        assert await tab.violations() == []
