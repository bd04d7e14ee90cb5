"""An extra run of search cases, one JSON object a line, from the file that `TEST_CASES` names.

Each GET is asked as a POST with the same parameters as well: pages, totals and errors must be the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from store.tenancy import SearchScope
from tests.support.extra import CASES
from tests.support.service import FORM, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Answer, Service

Case = dict[str, Any]

pytestmark = pytest.mark.skipif(CASES is None, reason="TEST_CASES is not set")


def cases() -> list[Any]:
    if CASES is None:
        return []
    found = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines() if line]
    return [
        pytest.param({**case, "method": method}, id=f"{case['id']}-{method}")
        for case in found
        for method in (("GET", "POST") if case.get("method", "GET") == "GET" else (case["method"],))
    ]


@pytest.fixture
async def trusted(mongodb: str) -> AsyncIterator[Service]:
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as opened:
        yield opened


def with_base(resources: list[Case], base: str) -> list[Case]:
    filled: list[Case] = json.loads(json.dumps(resources).replace("{BASE}", base))
    return filled


async def prepare(case: Case, service: Service) -> None:
    for name in ("prior_versions", "resources"):
        await service.load(*with_base(case.get(name, []), service.base))
    for gone in case.get("deleted", []):
        key = gone if isinstance(gone, str) else f"{gone['resourceType']}/{gone['id']}"
        path = key if "/" in key else f"DiagnosticReport/{key}"
        assert (await service.delete(path)).status == 204
    if "other_tenant" in case:
        other = await service.new_tenant()
        await other.load(*with_base(case["other_tenant"], other.base))


async def ask(case: Case, service: Service) -> Answer:
    query, headers = case["query"].replace("{BASE}", service.base), case.get("headers", {})
    if case["method"] == "GET":
        return await service.request("GET", f"DiagnosticReport?{query}", headers=headers)
    form, url = (case["post_body"], f"?{query}") if "post_body" in case else (query, "")
    return await service.request(
        "POST", f"DiagnosticReport/_search{url}", data=form, content_type=FORM, headers=headers
    )


def included(page: Answer) -> list[str]:
    return [
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in page.body.get("entry", [])
        if entry["search"]["mode"] == "include"
    ]


@pytest.mark.parametrize("case", cases())
async def test_a_search_case(case: Case, trusted: Service) -> None:
    await prepare(case, trusted)
    first = await ask(case, trusted)
    assert first.status == case.get("expect_status", 200), first.text
    if case["expect_ids"] is None:
        assert first.issues
        return
    pages = [first] if case.get("first_page_only") else await trusted.pages(first)
    matches = [id for page in pages for id in page.ids]
    if case.get("ordered"):
        assert matches == case["expect_ids"]
    else:
        assert sorted(matches) == sorted(case["expect_ids"])
    check_paging(case, pages)
    check_content(case, pages)


def check_paging(case: Case, pages: list[Answer]) -> None:
    if "expect_total" in case:
        assert pages[0].body.get("total") == case["expect_total"]
    if "expect_next" in case:
        assert ("next" in pages[0].links) == case["expect_next"]
    if "expect_pages" in case:
        wanted = case["expect_pages"]
        assert (len(pages) if isinstance(wanted, int) else [page.ids for page in pages]) == wanted
    if "page_sizes" in case:
        assert [len(page.ids) for page in pages] == case["page_sizes"]


def check_content(case: Case, pages: list[Answer]) -> None:
    if "expect_include" in case:
        assert sorted({one for page in pages for one in included(page)}) == sorted(case["expect_include"])
    if "expect_page_includes" in case:
        assert [sorted(included(page)) for page in pages] == [sorted(p) for p in case["expect_page_includes"]]
    for match in (match for page in pages for match in page.matches):
        for name in case.get("expect_present", []):
            assert name in match["resource"]
        for name in case.get("expect_absent", []):
            assert name not in match["resource"]
    for text in case.get("self_link_has", []):
        assert text in pages[0].links["self"]
    for text in case.get("self_link_lacks", []):
        assert text not in pages[0].links["self"]
