"""Strict handling refuses with every issue; lenient handling takes what is right and says what it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.feed import at, delivery, observation, send
from tests.support.fhir import message, message_header, patient, refers, report, resource
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Service

CREATE = "DiagnosticReport/$diagnosticreport-create"
AMEND = "DiagnosticReport/$diagnosticreport-amend"
OBSERVE = "Observation/$observation-create"
EVENTS = "https://fhir.redoxengine.com/EventDefinition/"
SENTINEL = "Doe-4711"


def headed(bundle: Any, **header: Any) -> Any:
    first = {"resource": {**message_header(), **header}}
    return {**bundle, "entry": [first, *bundle["entry"][1:]]}


def without_header(bundle: Any) -> Any:
    return {**bundle, "entry": bundle["entry"][1:]}


def plain() -> Any:
    return delivery("r", observation("o"), time=at(1))


def with_companion(**elements: Any) -> Any:
    bundle = plain()
    return {**bundle, "entry": [*bundle["entry"], {"resource": {"resourceType": "Provenance", **elements}}]}


COMPLETE = {"target": [refers("DiagnosticReport/r")], "recorded": at(1), "agent": [{"who": {"display": "x"}}]}

DEVIATIONS = [
    pytest.param(
        "$process-message",
        without_header(plain()),
        "no-message-header",
        "Bundle.entry[0].resource",
        id="no header",
    ),
    pytest.param(CREATE, message(patient("p")), "operation-mismatch", "Bundle.entry", id="no report"),
    pytest.param(
        OBSERVE, message(report("r", None)), "operation-mismatch", "Bundle.entry", id="no observation"
    ),
    pytest.param(
        CREATE,
        headed(plain(), eventUri=f"{EVENTS}DiagnosticReportAmend"),
        "operation-mismatch",
        "Bundle.entry[0].resource.event",
        id="another event",
    ),
    pytest.param(
        AMEND,
        headed(
            plain(),
            eventUri=None,
            eventCoding={"system": "urn:redox:event-type", "code": "DiagnosticReport-New"},
        ),
        "operation-mismatch",
        "Bundle.entry[0].resource.event",
        id="another event as a coding",
    ),
    pytest.param(
        "$process-message",
        headed(plain(), focus=[refers("DiagnosticReport/r"), refers(f"DiagnosticReport/{SENTINEL}")]),
        "dangling-focus",
        "Bundle.entry[0].resource.focus[1]",
        id="dangling focus",
    ),
    pytest.param(
        "$process-message",
        headed(plain(), focus=[{"display": SENTINEL}]),
        "dangling-focus",
        "Bundle.entry[0].resource.focus[0]",
        id="a focus without reference",
    ),
    pytest.param(
        "$process-message",
        headed(plain(), focus=[7]),
        "dangling-focus",
        "Bundle.entry[0].resource.focus[0]",
        id="a number for a focus",
    ),
    pytest.param(
        "$process-message",
        with_companion(**{**COMPLETE, "agent": None}),
        "missing-required",
        "Bundle.entry[4].resource.agent",
        id="a Provenance without agent",
    ),
    pytest.param(
        "$process-message",
        with_companion(**COMPLETE, text={"status": "empty"}),
        "faulty-companion",
        "Bundle.entry[4].resource.text",
        id="a companion with a faulty narrative",
    ),
    pytest.param(
        "$process-message",
        message(patient("p", contact=[{"name": {}}])),
        "faulty-companion",
        "Bundle.entry[1].resource.contact[0].name",
        id="a faulty patient without any result",
    ),
    pytest.param(
        "$process-message",
        delivery("r", category={"text": SENTINEL}),
        "object-for-list",
        "Bundle.entry[1].resource",
        id="an object for a list",
    ),
    pytest.param(
        "$process-message",
        delivery("r", category=[{"text": SENTINEL, "coding": [{"code": "", "system": None}, {"code": "x"}]}]),
        "blank-inside",
        "Bundle.entry[1].resource",
        id="blanks inside",
    ),
]


@pytest.mark.parametrize(("path", "bundle", "name", "where"), DEVIATIONS)
async def test_lenient_takes_it_and_names_it(
    service: Service, path: str, bundle: Any, name: str, where: str
) -> None:
    answer = await send(service, bundle, path)
    assert answer.status == 200, answer.text
    assert all(entry["response"]["status"] == "201 Created" for entry in answer.body["entry"])
    assert f": `{name}`." in answer.text
    assert SENTINEL not in answer.text


@pytest.mark.parametrize(("path", "bundle", "name", "where"), DEVIATIONS)
async def test_strict_refuses_it_with_its_place(
    service: Service, path: str, bundle: Any, name: str, where: str
) -> None:
    answer = await send(service, bundle, path, prefer="handling=strict")
    assert answer.status == 422, answer.text
    assert where in [one for issue in answer.body["issue"] for one in issue.get("expression", ())]
    assert SENTINEL not in answer.text
    for value in ("p", "r"):
        assert (await service.search([("identifier", value)], type="Patient")).ids == []
    assert (await service.search("patient=p")).ids == []


async def test_strict_takes_what_has_no_deviation(service: Service) -> None:
    bundle = headed(plain(), focus=[refers("DiagnosticReport/r")], eventUri=f"{EVENTS}DiagnosticReportCreate")
    answer = await send(service, bundle, CREATE, prefer='return=minimal, handling="strict"')
    assert answer.status == 200, answer.text
    assert "Mended" not in answer.text
    assert "Tolerated" not in answer.text


async def test_strict_lists_every_issue_at_once(service: Service) -> None:
    bundle = headed(
        with_companion(), focus=[refers("DiagnosticReport/none")], eventUri=f"{EVENTS}DiagnosticReportAmend"
    )
    bundle["entry"][1]["resource"] |= {"status": SENTINEL}
    answer = await send(service, bundle, CREATE, prefer="handling=strict")
    found = {one for issue in answer.body["issue"] for one in issue["expression"]}
    first, provenance = "Bundle.entry[0].resource", "Bundle.entry[4].resource"
    assert {f"{first}.focus[0]", f"{first}.event", "Bundle.entry[1].resource.status"} <= found
    assert {f"{provenance}.{name}" for name in ("target", "recorded", "agent")} <= found
    assert SENTINEL not in answer.text


async def test_the_setting_decides_and_a_request_may_ask_otherwise(mongodb: str) -> None:
    async with opened_service(mongodb, validation="strict") as service:
        bundle = without_header(plain())
        assert (await send(service, bundle)).status == 422
        assert (await send(service, bundle, prefer="handling=lenient")).status == 200


async def test_a_companion_that_cannot_be_kept_is_refused_alone(service: Service) -> None:
    bundle = plain()
    bundle["entry"] += [{"resource": {"resourceType": "Nonsense"}}, {"resource": patient("_bad_")}]
    answer = await send(service, bundle)
    assert [entry["response"]["status"] for entry in answer.body["entry"]] == ["201 Created"] * 4 + [
        "422"
    ] * 2
    issue, letter = answer.body["entry"][5]["response"]["outcome"]["issue"]
    assert issue["expression"] == ["Bundle.entry[5].resource.id"]
    assert letter["details"]["text"].startswith("Dead-Letter: ")
    assert "_bad_" not in answer.text


async def test_a_report_that_cannot_be_kept_refuses_its_message(service: Service) -> None:
    bundle = plain()
    bundle["entry"][1]["resource"] |= {"text": {"status": "empty"}}
    answer = await send(service, bundle)
    assert answer.status == 422
    assert [issue["expression"] for issue in answer.body["issue"]] == [["Bundle.entry[1].resource.text"]]
    assert (await service.search("patient.identifier=p")).ids == []


async def test_a_tolerance_is_counted_under_its_name(service: Service) -> None:
    from ingest.http.app_keys import INGEST_METRICS  # noqa: PLC0415

    app = service.client.app
    assert app is not None
    before = json.dumps(_counts(app[INGEST_METRICS]))
    await send(service, without_header(plain()))
    after = _counts(app[INGEST_METRICS])
    assert after.get("no-message-header", 0) == json.loads(before).get("no-message-header", 0) + 1


def _counts(metrics: Any) -> dict[str, float]:
    return {
        sample.labels["tolerance"]: sample.value
        for family in metrics._tolerances.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize("kind", ["Observation", "DiagnosticReport"])
async def test_a_result_that_is_sent_alone_is_no_companion(service: Service, kind: str) -> None:
    answer = await send(service, message(resource(kind, "x", text={"status": "empty"})))
    assert answer.status == 422
