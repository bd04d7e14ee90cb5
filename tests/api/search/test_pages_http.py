"""Order, totals and pages of a search; links that carry its moment and tell nothing of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from api.http.app_keys import PAGE_SECRET
from api.search.page_token import PageState, seal, unseal
from store.retention.policy import Policy
from store.search.criteria import Moment
from tests.api.search.searched import SENTINEL, is_refused
from tests.support.fhir import (
    report,
)
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer

# --- order, totals, pages


async def test_the_newest_come_first_and_those_without_a_date_last(service: Service) -> None:
    await service.load(
        report("old", effectiveDateTime="2020-01-01"),
        report("none"),
        report("new", effectivePeriod={"start": "2022-05-01", "end": "2022-06-01"}),
        report("middle", effectiveDateTime="2021-01-01T00:00:00Z"),
    )
    assert (await service.search("patient=p1")).ids == ["new", "middle", "old", "none"]
    assert (await service.search("patient=p1&_sort=-date")).ids == ["new", "middle", "old", "none"]
    assert (await service.search("patient=p1&_sort=date")).ids == ["none", "old", "middle", "new"]


async def test_sorts(service: Service) -> None:
    await service.load(
        report("b", issued="2020-01-03T00:00:00Z", effectiveDateTime="2020"),
        report("a", issued="2020-01-01T00:00:00Z", effectiveDateTime="2020"),
        report("c", issued="2020-01-02T00:00:00Z", effectiveDateTime="2019"),
    )
    for sort, ids in (
        ("_id", "abc"),
        ("-_id", "cba"),
        ("issued", "acb"),
        ("-issued", "bca"),
        ("_lastUpdated", "abc"),
        ("date,issued", "cab"),
        ("-date,issued", "abc"),
        ("-date,-issued", "bac"),
        ("-date&_sort=-issued", "bac"),
    ):
        found = await service.search(f"patient=p1&_sort={sort}")
        assert (found.status, "".join(found.ids)) == (200, ids), sort
        assert found.links["self"].endswith(f"_sort={sort}")


async def test_a_sort_that_is_not_offered_is_left_out_or_refused(service: Service) -> None:
    await service.load(report())
    lenient = await service.search("patient=p1&_sort=order")
    assert (lenient.ids, lenient.links["self"].endswith("?patient=p1")) == (["r1"], True)
    is_refused(await service.search("patient=p1&_sort=order", prefer="handling=strict"), "not-supported")
    partly = await service.search("patient=p1&_sort=order,-_id,nothing,date")
    assert partly.links["self"].endswith("?patient=p1&_sort=-_id,date")


async def test_totals(mongodb: str) -> None:
    async with opened_service(mongodb, count_max=4) as service:
        await service.load(*(report(f"r{n}") for n in range(5)))
        await service.load(*(report(f"few{n}", "p2") for n in range(4)))

        async def total(query: str) -> int | None:
            found: int | None = (await service.search(query)).body.get("total")
            return found

        assert await total("patient=p1") == 5  # All of it is there to be seen.
        assert await total("patient=p2&_count=1") == 4
        assert await total("patient=p1&_count=1") is None
        assert await total("patient=p1&_count=1&_total=estimate") is None
        assert await total("patient=p1&_count=1&_total=accurate") == 5
        assert await total("patient=p2&_count=1&_total=none") is None
        assert await total("patient=p2&_count=0") == 4
        # Whoever asks for the total alone gets it, past the bound too.
        for query in ("_count=0", "_count=0&_total=estimate", "_count=0&_summary=true", "_summary=count"):
            assert await total(f"patient=p1&{query}") == 5, query
        assert await total("patient=p1&_count=0&_total=none") is None


async def test_count_zero_is_the_total_alone(service: Service) -> None:
    await service.load(report())
    body = (await service.search("patient=p1&_count=0")).body
    assert (body["total"], "entry" in body) == (1, False)
    assert [link["relation"] for link in body["link"]] == ["self"]


async def test_paging_forward_and_back(service: Service) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-{n // 2 + 1:02}") for n in range(7)))
    whole = (await service.search("patient=p1")).ids
    assert len(whole) == 7
    for way in (service.search, service.post_search):
        for size in range(1, 8):
            pages = await service.pages(await way(f"patient=p1&_count={size}"))
            assert [id for page in pages for id in page.ids] == whole
            assert {page.body["total"] for page in pages} == {7}
            assert max(len(page.ids) for page in pages) == min(size, 7)
            back = await service.pages(pages[-1], "previous")
            assert [page.ids for page in reversed(back)] == [page.ids for page in pages]
            relations = [sorted(page.links) for page in pages]
            if len(pages) > 1:
                assert relations[0] == ["first", "next", "self"]
                assert relations[-1] == ["first", "previous", "self"]
                first = await service.get(pages[-1].links["first"])
                again = await service.get(pages[1].links["self"])
                assert (first.ids, again.ids) == (pages[0].ids, pages[1].ids)
            else:
                assert relations == [["self"]]


async def test_what_arrives_meanwhile_neither_shifts_nor_repeats(service: Service) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-0{n}") for n in range(1, 7)))
    first = await service.search("patient=p1&_count=2")
    await service.load(report("newest", effectiveDateTime="2021"), report("oldest", effectiveDateTime="2019"))
    await service.delete("DiagnosticReport/r5")
    pages = await service.pages(first)
    assert [id for page in pages for id in page.ids] == ["r6", "r5", "r4", "r3", "r2", "r1"]
    assert {page.body["total"] for page in pages} == {6}


@pytest.mark.parametrize("moment", [Moment(1, 1), Moment(2**31, 1)], ids=["long ago", "not yet"])
async def test_pages_of_a_forgotten_moment_are_those_of_now_and_have_no_total(
    service: Service, moment: Moment
) -> None:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2020-01-0{n}") for n in range(1, 7)))
    first = await service.search("patient=p1&_count=2")
    assert state_of(service, first).as_of is not None
    await service.load(report("oldest", effectiveDateTime="2019"))
    await service.delete("DiagnosticReport/r3")
    url = sealed(service, first, replace(state_of(service, first), as_of=moment))
    pages = [second := await service.get(url), *(await service.pages(second))[1:]]
    assert [id for page in pages for id in page.ids] == ["r4", "r2", "r1", "oldest"]
    assert not any("total" in page.body for page in pages)
    assert state_of(service, second).as_of is None  # Nor does a later page claim a moment.


async def test_page_links_carry_the_moment_of_the_first_page(service: Service) -> None:
    await service.load(*(report(f"r{n}") for n in range(4)))
    pages = await service.pages(await service.search("patient=p1&_count=1"))
    moments = [state_of(service, page).as_of for page in pages[:-1]]
    assert moments[0] is not None
    assert len(moments) == 3
    assert set(moments) == {moments[0]}
    later = await service.search("patient=p1&_count=1")
    assert state_of(service, later).as_of is not None


def state_of(service: Service, page: Answer) -> PageState:
    """Content of the link to the next page."""
    token = page.links["next"].partition("_page=")[2]
    return unseal(token, tenant=str(service.tenant), secret=secret_of(service), now_seconds=0)


def sealed(service: Service, page: Answer, state: PageState) -> str:
    """The link to the next page, with another state."""
    token = seal(state, tenant=str(service.tenant), secret=secret_of(service))
    return f"{page.links['next'].partition('=')[0]}={token}"


def secret_of(service: Service) -> bytes:
    assert service.client.app is not None
    return service.client.app[PAGE_SECRET]


async def test_page_links_tell_nothing_of_the_search(service: Service) -> None:
    await service.load(*(report(f"r{n}", SENTINEL) for n in range(3)))
    page = await service.post_search(f"patient={SENTINEL}&_count=1")
    for relation in ("first", "next"):
        url = page.links[relation]
        assert re.fullmatch(re.escape(f"{service.base}/DiagnosticReport?_page=") + r"[A-Za-z0-9_-]+", url), (
            relation
        )
    second = await service.get(page.links["next"])
    assert SENTINEL not in str(second.links)
    assert second.matches


async def two_pages(service: Service) -> Answer:
    await service.load(report("r1"), report("r2"))
    answer = await service.search("patient=p1&_count=1")
    assert "next" in answer.links
    return answer


async def test_a_page_link_of_another_tenant_is_not_found(service: Service) -> None:
    mine = await two_pages(service)
    other = await service.new_tenant()
    token = mine.links["next"].partition("_page=")[2]
    is_refused(await other.get(f"DiagnosticReport?_page={token}"), "not-found", "this page link", status=404)
    is_refused(await other.get(mine.links["next"]), "forbidden", status=403)


async def test_an_edited_page_link_is_not_found(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    token = url.partition("_page=")[2]
    changed = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
    for edited in (
        changed,
        token[:-4],
        token[:10],
        "x",
        "",
        "%C3%A9",
        "!!!!" + token,
        token + "*",
        token[:9] + "." + token[9:],
    ):
        answer = await service.get(f"DiagnosticReport?_page={edited}")
        is_refused(answer, "not-found", status=404)


async def test_a_page_link_is_for_its_type_and_stands_alone(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    query = url.partition("?")[2]
    is_refused(await service.get(f"Observation?{query}"), "invalid", "`_page`")
    is_refused(await service.get(f"DiagnosticReport?{query}&patient=p2"), "invalid", "`_page`")
    is_refused(await service.get(f"DiagnosticReport?patient=p2&{query}"), "invalid", "`_page`")
    assert (await service.get(f"DiagnosticReport?_format=json&{query}")).status == 200
    assert (await service.post_search(query)).status == 200


async def test_a_page_link_expires(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=60) as service:
        url = (await two_pages(service)).links["next"]
        service.clock.move(seconds=59)
        assert (await service.get(url)).status == 200
        service.clock.move(seconds=1)
        is_refused(await service.get(url), "expired", "expired", status=410)


async def test_a_page_link_expires_sooner_where_the_policy_says_so(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=10 * 86_400) as service:
        url = (await two_pages(service)).links["next"]
        await service.keeps(Policy(page_token_days=2))
        service.clock.move(days=2, seconds=-1)
        assert (await service.get(url)).status == 200
        service.clock.move(seconds=1)
        is_refused(await service.get(url), "expired", "expired", status=410)


async def test_a_page_link_needs_a_token_that_may_search(service: Service) -> None:
    url = (await two_pages(service)).links["next"]
    reader = await service.with_token(scopes=["system/DiagnosticReport.r"])
    is_refused(await reader.get(url), "forbidden", status=403)
    stranger = Service(service.client, service.clock, service.tenant)
    is_refused(await stranger.get(url), "login", status=401)
