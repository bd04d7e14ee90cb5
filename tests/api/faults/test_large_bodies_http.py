"""Bodies of every shape that are too much: refused early, by a rule that is told; and those that are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from api.http.app_keys import REGISTRY
from ingest.http.admission import ADMISSION
from tests.support.fhir import batch, message, patient, report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Service

BOUNDS: dict[str, Any] = {
    "body_bytes_max": 4_000_000,
    "body_elements_max": 60_000,
    "resource_elements_max": 20_000,
    "index_entries_max": 2_000,
}
MANY = 100_000


def _report(element: str, inner: str) -> str:
    return f'{{"resourceType":"DiagnosticReport","status":"final","code":{{"text":"x"}},"{element}":{inner}}}'


def _identifiers(count: int) -> str:
    return "[" + ",".join(f'{{"system":"urn:x","value":"{n}"}}' for n in range(count)) + "]"


SHAPES = {
    "objects": _report("result", "[" + "{}," * MANY + "{}]"),
    "lists": _report("result", "[" + "[]," * MANY + "[]]"),
    "numbers": _report("result", "[" + "1," * MANY + "1]"),
    "texts": _report("result", "[" + '"a",' * MANY + '"a"]'),
    "nested lists": "[" * MANY + "]" * MANY,
    "nested objects": '{"a":' * MANY + "1" + "}" * MANY,
    "keys": _report("extension", "{" + ",".join(f'"k{n}":1' for n in range(MANY)) + "}"),
    "identifiers": _report("identifier", _identifiers(30_000)),
    "one large resource": _report("extension", "[" + "{}," * 25_000 + "{}]"),
    "one in a Bundle": json.dumps(
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"resource": {"resourceType": "Basic", "extension": [{}] * 21_000}}],
        }
    ),
}


async def _is_well(service: Service) -> None:
    assert service.client.app is not None
    assert service.client.app[ADMISSION].bytes == 0
    assert (await service.put(report("well"))).status in (200, 201)


async def test_what_is_too_much_is_refused_with_its_rule_and_becomes_no_letter(mongodb: str) -> None:
    async with opened_service(mongodb, **BOUNDS) as service:
        for shape, body in SHAPES.items():
            for path in ("DiagnosticReport", "", "$process-message"):
                answer = await service.request("POST", path, data=body)
                assert (answer.status, answer.issues) == (413, [("error", "too-costly")]), (shape, path)
                assert "Dead-Letter" not in answer.headers
        await _is_well(service)


async def test_index_entries_are_bounded_by_every_way(mongodb: str) -> None:
    async with opened_service(mongodb, **BOUNDS) as service:
        wrong = report("r1", identifier=[{"system": "urn:x", "value": str(n)} for n in range(3_000)])
        put = ("PUT", "DiagnosticReport/r1", wrong)
        for answer in (
            await service.put(wrong),
            await service.create(wrong),
            await service.request("POST", "", {**batch(put), "type": "transaction"}),
            await service.request("POST", "$process-message", message(wrong, patient("p1"))),
        ):
            assert answer.status in (413, 422)
            assert ("error", "too-costly") in answer.issues
        answer = await service.request("POST", "", batch(put))
        assert answer.body["entry"][0]["response"]["status"].startswith("413")
        await _is_well(service)


async def test_a_patch_of_too_many_values_is_refused(mongodb: str) -> None:
    async with opened_service(mongodb, **BOUNDS) as service:
        await service.load(report("r1"))
        body = json.dumps([{"op": "add", "path": "/extension", "value": [{}] * MANY}])
        answer = await service.request(
            "PATCH", "DiagnosticReport/r1", data=body, content_type="application/json-patch+json"
        )
        assert (answer.status, answer.issues) == (413, [("error", "too-costly")])


async def test_what_is_just_within_goes_through_by_every_way(mongodb: str) -> None:
    """Beside the event loop, with the same result as on it."""
    notes = [{"url": "urn:x", "valueString": f"made up {n}, \u00fcber"} for n in range(5_000)]
    async with opened_service(mongodb, **BOUNDS) as service:
        large = report("large", extension=notes)
        text = json.dumps(large)[:-1] + ',"modifierExtension":[{"url":"urn:x","valueDecimal":1.00}]}'
        assert (await service.request("PUT", "DiagnosticReport/large", data=text)).status == 201
        read = await service.get("DiagnosticReport/large")
        assert '"valueDecimal":1.00' in read.text
        assert read.body["extension"] == notes
        created = await service.request(
            "POST", "DiagnosticReport", data=text, headers={"Idempotency-Key": "k"}
        )
        again = await service.request("POST", "DiagnosticReport", data=text, headers={"Idempotency-Key": "k"})
        assert (created.status, again.status, again.headers["Location"]) == (
            201,
            201,
            created.headers["Location"],
        )
        operations = [{"op": "replace", "path": "/extension/0/valueString", "value": "changed"}]
        patched = await service.request(
            "PATCH", "DiagnosticReport/large", operations, content_type="application/json-patch+json"
        )
        assert (patched.status, patched.body["extension"][0]["valueString"]) == (200, "changed")
        for kind in ("batch", "transaction"):
            entries = [
                ("PUT", f"DiagnosticReport/{kind}{n}", report(f"{kind}{n}", extension=notes[:2_000]))
                for n in range(3)
            ]
            answer = await service.request("POST", "", {**batch(*entries), "type": kind})
            assert [entry["response"]["status"][:3] for entry in answer.body["entry"]] == ["201"] * 3
        sent = message(report("m1", extension=notes[:2_000]), patient("p1"))
        assert (await service.request("POST", "$process-message", sent)).status == 200
        await _is_well(service)


async def test_a_long_text_full_of_signs_is_no_large_number_of_values(mongodb: str) -> None:
    async with opened_service(mongodb, **BOUNDS) as service:
        assert (await service.put(report("r1", conclusion='[{",' * 500_000))).status == 201
        assert service.client.app is not None
        assert service.client.app[REGISTRY].get_sample_value("dod_log_lines_lost_total") is not None


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ({"resourceType": "Binary", "data": "data:application/pdf;base64,aGVsbG8="}, "Binary.data"),
        ({"resourceType": "Binary", "data": "aGVsbG8"}, "Binary.data"),
        ({"resourceType": "Binary", "data": 5}, "Binary.data"),
        ({"resourceType": "Binary", "data": "x-y" * 100_000}, "Binary.data"),
        (
            report("r1", presentedForm=[{"contentType": "application/pdf", "data": "*" * 100_000}]),
            "DiagnosticReport.presentedForm[0]",
        ),
        (
            report("r1", extension=[{"url": "urn:x", "valueBase64Binary": "no-base64"}]),
            "DiagnosticReport.extension[0].valueBase64Binary",
        ),
        (
            {
                "resourceType": "Provenance",
                "target": [{"reference": "Patient/p1"}],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"display": "x"}}],
                "signature": [{"type": [{"code": "x"}], "when": "2026-01-01T00:00:00Z", "data": "?"}],
            },
            "Provenance.signature[0]",
        ),
    ],
)
async def test_what_is_no_base64_is_refused_when_it_is_pushed(
    service: Service, resource: dict[str, Any], path: str
) -> None:
    named = {**resource, "id": "r1"}
    if resource["resourceType"] == "Binary":
        named["contentType"] = "application/pdf"
    for answer in (
        await service.put(named),
        await service.request("POST", resource["resourceType"], named),
    ):
        assert answer.status == 422, answer.text
        assert answer.body["issue"][0]["expression"] == [path]
    assert (await service.get(f"{resource['resourceType']}/r1")).status == 404


async def test_a_document_of_a_message_that_is_no_base64_is_refused_alone(service: Service) -> None:
    wrong = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "data:,hello"}
    answer = await service.request("POST", "$process-message", message(report("m1"), patient("p1"), wrong))
    statuses = sorted(entry["response"]["status"][:3] for entry in answer.body["entry"])
    assert statuses == ["201", "201", "201", "422"]
