"""`__explain=true` over HTTP: for the admin scope alone, beside the matches, in no link, without a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.auth.scopes import ADMIN
from tests.support.fhir import report
from tests.support.service import FHIR_UTF8, Service

if TYPE_CHECKING:
    from tests.support.service import Answer

SEARCH = "patient=p1&code=58410-2&date=ge2020"


@pytest.fixture
async def admin(service: Service) -> Service:
    await service.load(*(report(f"r{n}", effectiveDateTime=f"2026-01-0{n}") for n in (1, 2, 3)))
    await service.load(report("other", "p2", effectiveDateTime="2026-01-01"))
    return await service.with_token(scopes=["system/*.rs", ADMIN])


def outcomes(answer: Answer) -> list[dict[str, Any]]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    entries = answer.body.get("entry", [])
    found = [entry["resource"] for entry in entries if entry["search"] == {"mode": "outcome"}]
    assert all(one["resourceType"] == "OperationOutcome" for one in found)
    return found


def explained(answer: Answer) -> dict[str, str]:
    [outcome] = outcomes(answer)
    issue = outcome["issue"][-1]
    assert (issue["severity"], issue["code"]) == ("information", "informational")
    return dict(fact.split(": ", 1) for fact in issue["details"]["text"].split("; "))


@pytest.mark.parametrize("method", ["search", "post_search"])
async def test_the_matches_come_with_how_they_were_found(admin: Service, method: str) -> None:
    answer = await getattr(admin, method)(f"{SEARCH}&__explain=true")
    assert (answer.ids, answer.body["total"]) == (["r3", "r2", "r1"], 3)
    facts = explained(answer)
    assert facts["shape"] == "DiagnosticReport by patient=? & code=? filter date=ge sort -when.lo"
    assert (facts["index"], facts["returned"], facts["documents examined"]) == ("keyed", "3", "3")
    assert int(facts["keys examined"]) >= 3
    assert facts["stages"].endswith("IXSCAN")


async def test_no_link_repeats_the_wish(admin: Service) -> None:
    answer = await admin.search(f"__explain=true&{SEARCH}&_count=1")
    plain = await admin.search(f"{SEARCH}&_count=1")
    assert answer.links["self"] == plain.links["self"]
    assert "__explain" not in "".join(answer.links.values())
    assert outcomes(await admin.get(answer.links["next"])) == []


async def test_a_further_page_is_explained_when_it_is_asked_for(admin: Service) -> None:
    first = await admin.search(f"{SEARCH}&_count=1")
    second = await admin.get(f"{first.links['next']}&__explain=true")
    assert second.ids == ["r2"]
    assert explained(second)["returned"] == "2"  # One more than the page, to know that there is another.


async def test_what_was_left_out_is_still_said(admin: Service) -> None:
    [outcome] = outcomes(await admin.search(f"{SEARCH}&foo=MADE-UP&__explain=true"))
    assert [issue["code"] for issue in outcome["issue"]] == ["not-supported", "informational"]
    assert "MADE-UP" not in str(outcome)


async def test_no_value_is_in_it(admin: Service) -> None:
    values = ("made-up-7", "58410-2", "urn:made-up", "2020-05-17")
    answer = await admin.search(
        "patient.identifier=urn:made-up|made-up-7&code=58410-2&date=ge2020-05-17&__explain=true"
    )
    assert not [value for value in values if value in str(outcomes(answer))]


@pytest.mark.parametrize("wish", ["__explain=true", "__explain=false&__explain=true"])
@pytest.mark.parametrize("path", ["search", "post_search"])
async def test_without_the_scope_403_names_it(service: Service, path: str, wish: str) -> None:
    answer = await getattr(service, path)(f"{SEARCH}&{wish}")
    assert (answer.status, answer.issues) == (403, [("error", "forbidden")])
    assert f"`{ADMIN}`" in answer.texts


async def test_a_page_link_is_no_way_around_the_scope(service: Service, admin: Service) -> None:
    first = await admin.search(f"{SEARCH}&_count=1&__explain=true")
    assert (await service.get(f"{first.links['next']}&__explain=true")).status == 403


async def test_who_does_not_want_it_needs_no_scope(service: Service) -> None:
    answer = await service.search(f"{SEARCH}&__explain=false", prefer="handling=strict")
    assert outcomes(answer) == []


async def test_a_value_that_is_none_is_400(admin: Service) -> None:
    answer = await admin.search(f"{SEARCH}&__explain=MADE-UP")
    assert (answer.status, answer.issues) == (400, [("error", "invalid")])
    assert "MADE-UP" not in answer.text


async def test_the_admin_scope_alone_searches_nothing(service: Service) -> None:
    only = await service.with_token(scopes=[ADMIN])
    assert (await only.search(f"{SEARCH}&__explain=true")).status == 403
