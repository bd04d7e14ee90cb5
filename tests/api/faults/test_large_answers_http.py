"""An answer has its bytes bounded as well as its count, and what does not fit is on the next page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fhir import identified, refers, report, resource
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Answer

BYTES_MAX = 20_000
LARGE = 8_000
"""Two fit on a page."""
HEAD = 2_000
"""Links and what each entry says of itself."""


@pytest.fixture
async def service(mongodb: str) -> AsyncIterator[Service]:
    async with opened_service(mongodb, page_bytes_max=BYTES_MAX, includes_max=5) as service:
        yield service


def large(id: str, size: int = LARGE, **elements: Any) -> dict[str, Any]:
    return report(id, conclusion="x" * size, **elements)


def result(id: str, size: int = 0) -> dict[str, Any]:
    note = {"note": [{"text": "x" * size}]} if size else {}
    code = {"text": "made up"}
    return resource("Observation", id, status="final", code=code, subject=refers("Patient/p1"), **note)


def included(answer: Answer) -> list[str]:
    return [e["resource"]["id"] for e in answer.body.get("entry", ()) if e["search"]["mode"] == "include"]


def outcomes(answer: Answer) -> list[tuple[str, str]]:
    entries = [e["resource"] for e in answer.body.get("entry", ()) if e["search"]["mode"] == "outcome"]
    return [(issue["severity"], issue["code"]) for one in entries for issue in one["issue"]]


async def test_pages_end_early_and_stay_exact_in_both_directions(service: Service) -> None:
    dated = [large(f"r{n}", effectiveDateTime=f"2026-01-{n + 10}") for n in range(7)]
    giant = large("giant", 3 * BYTES_MAX, effectiveDateTime="2026-01-30")
    await service.load(*dated, giant)
    for sort in ("date", "_id"):  # Stored, and with a bound of its own for what is computed below.
        pages = await service.pages(await service.search(f"patient=p1&_sort={sort}&_count=1000"))
        assert all(len(page.text) < BYTES_MAX + HEAD or page.ids == ["giant"] for page in pages)
        assert [page.body["total"] for page in pages] == [8] * len(pages)
        expected = sorted(one["id"] for one in (*dated, giant))
        assert sorted(id for page in pages for id in page.ids) == expected
        assert max(len(page.ids) for page in pages) == 2
        back = await service.pages(pages[-1], "previous")
        assert [id for page in reversed(back) for id in page.ids] == [id for page in pages for id in page.ids]
    computed = await service.pages(await service.search("patient=p1&_sort=status,_id"))
    assert [len(page.ids) for page in computed] == [1, 2, 2, 2, 1]  # `giant` sorts first, and fills its page.
    total = await service.search("patient=p1&_count=0")
    assert total.body["total"] == 8


async def test_what_matches_bring_along_ends_the_page_and_never_the_paging(service: Service) -> None:
    await service.load(
        *(result(f"o{n}{m}") for n in range(4) for m in range(3)),
        *(result(f"big{n}", LARGE) for n in range(4)),
        *(report(f"r{n}", result=[refers(f"Observation/o{n}{m}") for m in range(3)]) for n in range(4)),
        report("rb", result=[refers(f"Observation/big{n}") for n in range(4)]),
        report("rm", result=[refers(f"Observation/o{n}{m}") for n in range(2) for m in range(3)]),
        report("rz", result=[refers("Observation/o00")]),
    )
    for include in (
        "_include=DiagnosticReport:result",
        "_include=*",
        "_revinclude=Provenance:target&_include=*",
    ):
        pages = await service.pages(await service.search(f"patient=p1&_sort=_id&{include}"))
        shown = [(page.ids, len(included(page)), outcomes(page)) for page in pages]
        assert [page.body["total"] for page in pages] == [7] * len(pages)
        assert [id for ids, _, _ in shown for id in ids] == ["r0", "r1", "r2", "r3", "rb", "rm", "rz"]
        warned = {tuple(ids): said for ids, _, said in shown if said}
        # By bytes, and by count: one match alone, with what fits, and said to be incomplete.
        assert warned == {("rb",): [("warning", "incomplete")], ("rm",): [("warning", "incomplete")]}
        assert [count for ids, count, _ in shown if ids == ["rb"]] == [2]
        assert [count for ids, count, _ in shown if ids == ["rm"]] == [5]
        for ids, count, said in shown:
            assert count <= 5
            assert said or count == 3 * sum(id[1:].isdigit() for id in ids) + ("rz" in ids)
        back = await service.pages(pages[-1], "previous")
        assert [id for page in reversed(back) for id in page.ids] == [id for ids, _, _ in shown for id in ids]


async def test_histories_end_their_pages_early(service: Service) -> None:
    for n in range(5):
        await service.load(large("r1", conclusionCode=[{"text": str(n)}]), large("r2", 10 * n + 10))
    await service.delete("DiagnosticReport/r2")
    admin = await service.with_token(scopes=["system/*.cruds"])
    for path, total in (("DiagnosticReport/r1/_history", 5), ("DiagnosticReport/_history", 11)):
        found = [await admin.get(path)]
        while "next" in found[-1].links:
            found.append(await admin.get(found[-1].links["next"]))
        assert [page.body["total"] for page in found] == [total] * len(found)
        assert all(len(page.text) < BYTES_MAX + 5 * HEAD for page in found)
        tags = [
            (entry["fullUrl"].rpartition("/")[2], entry["response"]["etag"])
            for page in found
            for entry in page.body["entry"]
        ]
        assert len(tags) == len(set(tags)) == total
        assert len(found) == 3


def batch(*urls: str, kind: str = "batch") -> dict[str, Any]:
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


async def test_the_searches_and_reads_of_a_bundle_share_the_bytes_of_one_answer(service: Service) -> None:
    await service.load(*(large(f"r{n}") for n in range(6)), large("giant", 3 * BYTES_MAX, status="amended"))
    many = 40
    for url in ("DiagnosticReport?patient=p1&status=final", "DiagnosticReport/r1"):
        answer = await service.request("POST", "", batch(*[url] * many))
        assert len(answer.text) < BYTES_MAX + many * 600
        statuses = [entry["response"]["status"][:3] for entry in answer.body["entry"]]
        assert statuses.count("400") == many - statuses.count("200") > 0
        assert statuses.count("200") in (1, 2), statuses
        refused = next(e["response"] for e in answer.body["entry"] if e["response"]["status"] == "400")
        assert refused["outcome"]["issue"][0]["code"] == "too-costly"
        for entry in answer.body["entry"]:
            if entry["response"]["status"].startswith("200") and "?" in url:
                links = {link["relation"] for link in entry["resource"]["link"]}
                assert links >= {"next"}  # None ends as if it were all there is.
                assert entry["resource"]["total"] == 6
    # One alone is answered however large it is, and small ones fit by the hundred.
    for url in ("DiagnosticReport/giant", "DiagnosticReport?_id=giant"):
        answer = await service.request("POST", "", batch(url))
        assert answer.body["entry"][0]["response"]["status"][:3] == "200"
    small = await service.request("POST", "", batch(*["DiagnosticReport?patient=nobody&_total=none"] * 30))
    assert {entry["response"]["status"][:3] for entry in small.body["entry"]} == {"200"}
    refused = await service.request(
        "POST", "", batch(*[f"DiagnosticReport/r{n}" for n in range(4)], kind="transaction")
    )
    assert (refused.status, refused.issues) == (400, [("error", "too-costly")])


async def test_a_condition_sees_a_second_match_that_no_longer_fits_on_a_page(service: Service) -> None:
    number = identified("urn:made:up", "1")
    await service.load(*(large(f"r{n}", 2 * BYTES_MAX, identifier=[number]) for n in range(2)))
    asked = "DiagnosticReport?identifier=urn:made:up|1"
    entry = {"resource": report("x"), "request": {"method": "PUT", "url": asked}}
    for kind, status in (("transaction", 412), ("batch", 200)):
        answer = await service.request("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert answer.status == status, answer.text
        assert "multiple-matches" in answer.text
