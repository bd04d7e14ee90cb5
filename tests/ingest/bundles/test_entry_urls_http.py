"""URLs of entries: relative, absolute under our own base, of a past version; never another server's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fhir import MRN, Json, batch, identified, patient, report

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

FOREIGN = "https://elsewhere.example/fhir/R4/lab/Production"


def statuses(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [entry["response"]["status"][:3] for entry in answer.body["entry"]]


async def send(service: Service, kind: str, *requests: tuple[str, str, Json | None], **more: Any) -> Answer:
    return await service.request("POST", "", {**batch(*requests, **more), "type": kind})


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("form", ["absolute", "path"])
async def test_our_own_base_before_the_url(service: Service, kind: str, form: str) -> None:
    base = service.base if form == "absolute" else service.root
    await service.load(patient("old"), patient("gone", identified(MRN, "7")))
    answer = await send(
        service,
        kind,
        ("POST", f"{base}/Patient", patient("any")),
        ("PUT", f"{base}/Patient/new", patient("new")),
        ("DELETE", f"{base}/Patient?identifier={MRN}|7", None),
        ("GET", f"{base}/Patient/old", None),
    )
    assert statuses(answer) == ["201", "201", "204", "200"]
    assert answer.body["entry"][1]["response"]["location"] == f"{service.base}/Patient/new/_history/1"
    assert answer.body["entry"][3]["resource"]["id"] == "old"
    assert (await service.get("Patient/gone")).status == 410


async def test_a_search_under_our_own_base(service: Service) -> None:
    await service.load(report())
    answer = await send(service, "batch", ("GET", f"{service.base}/DiagnosticReport?patient=p1", None))
    assert answer.body["entry"][0]["resource"]["total"] == 1


async def test_one_resource_in_two_spellings_is_one(service: Service) -> None:
    answer = await send(
        service,
        "transaction",
        ("PUT", "Patient/a", patient("a")),
        ("PUT", f"{service.base}/Patient/a", patient("a", active=True)),
    )
    assert (answer.status, {code for _, code in answer.issues}) == (400, {"duplicate"})


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_past_version(service: Service, kind: str) -> None:
    await service.load(report(), report(status="amended"))
    for url, status in (
        ("DiagnosticReport/r1/_history/1", "final"),
        (f"{service.base}/DiagnosticReport/r1/_history/2", "amended"),
    ):
        answer = await send(service, kind, ("GET", url, None))
        [entry] = answer.body["entry"]
        assert entry["resource"] == (await service.get(url.removeprefix(f"{service.base}/"))).body
        assert (entry["resource"]["status"], entry["response"]["etag"]) == (status, f'W/"{url[-1]}"')
        assert entry["fullUrl"] == f"{service.base}/DiagnosticReport/r1"


async def test_a_version_that_is_not_there(service: Service) -> None:
    await service.load(report())
    await service.delete("DiagnosticReport/r1")
    urls = (
        "DiagnosticReport/r1/_history/9",
        "DiagnosticReport/never/_history/1",
        "DiagnosticReport/r1/_history/2",
    )
    answer = await send(service, "batch", *(("GET", url, None) for url in urls))
    assert statuses(answer) == ["404", "404", "410"]
    for url, status in zip(urls, (404, 404, 410), strict=True):
        assert (await send(service, "transaction", ("GET", url, None))).status == status


async def test_a_past_version_needs_what_a_read_needs(service: Service) -> None:
    await service.load(report())
    blind = await service.with_token(scopes=["system/Patient.r"])
    answer = await send(blind, "batch", ("GET", "DiagnosticReport/r1/_history/1", None))
    assert statuses(answer) == ["403"]


@pytest.mark.parametrize(
    "url", [f"{FOREIGN}/Patient/sentinel", "//elsewhere.example/Patient/sentinel", "urn:uuid:sentinel"]
)
async def test_another_server_is_refused_in_clear_words(service: Service, url: str) -> None:
    body = patient("sentinel")
    answer = await send(service, "batch", ("PUT", url, body), ("PUT", "Patient/mine", patient("mine")))
    assert statuses(answer) == ["422", "201"]
    issue = answer.body["entry"][0]["response"]["outcome"]["issue"][0]
    assert issue["details"]["text"].startswith("`request.url` is another server's")
    assert issue["expression"] == ["Bundle.entry.request.url"]
    refused = await send(service, "transaction", ("PUT", "Patient/two", patient("two")), ("PUT", url, body))
    assert (refused.status, refused.issues) == (400, [("error", "value")])
    assert refused.texts.startswith("`Bundle.entry[1]`: `request.url` is another server's")
    assert (await service.get("Patient/two")).status == 404
    assert "sentinel" not in refused.text


async def test_a_refused_entry_is_kept_as_the_push_it_stands_for(service: Service) -> None:
    """An entry of our own base is a push of its own, one of another server a batch with a URL to fix."""
    officer = await service.with_token(scopes=["system/*.cruds", "dod/admin"])
    broken = report("r1", status="no-status")
    answer = await send(
        service,
        "batch",
        ("PUT", f"{service.base}/DiagnosticReport/r1", broken),
        ("PUT", f"{FOREIGN}/DiagnosticReport/r2", report("r2")),
    )
    letters = [
        issue["details"]["text"].removeprefix("Dead-Letter: ")
        for entry in answer.body["entry"]
        for issue in entry["response"]["outcome"]["issue"]
        if "Dead-Letter" in issue["details"]["text"]
    ]
    assert len(letters) == 2
    fixed = await officer.request("PUT", f"$dead-letters/{letters[0]}", report("r1"))
    assert fixed.status == 200, fixed.text
    mended = batch(("PUT", "DiagnosticReport/r2", report("r2")))
    assert (await officer.request("PUT", f"$dead-letters/{letters[1]}", mended)).status == 200
    for letter in letters:
        replayed = await officer.request("POST", f"$dead-letters/{letter}/$replay")
        assert replayed.status == 200, replayed.text
    assert [(await service.get(f"DiagnosticReport/{one}")).status for one in ("r1", "r2")] == [200, 200]
