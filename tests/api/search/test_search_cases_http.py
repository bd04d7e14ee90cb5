"""Search cases: resources, a query, the reports it must find. Each is asked by GET and by POST.

A chart is what a case searches in; a case is a row. The expectations follow the R4 text and the decisions
of DECISIONS.md, not what the service happens to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest

from store.tenancy import SearchScope
from tests.api.search.linked_cases import CHAIN_CASES, CHAINS, INCLUDE_CASES, INCLUDES
from tests.api.search.value_cases import (
    DATE_CASES,
    DATES,
    INSTANT_CASES,
    INSTANTS,
    REFERENCE_CASES,
    REFERENCES,
    TOKEN_CASES,
    TOKENS,
)
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api.search.value_cases import Case, Chart
    from tests.support.service import Answer, Service

AS_IT_STANDS: Final = "%=&:/|,$\\.#+'*"
"""Parameters of a query; only what no URL can hold is encoded."""

CHARTS: Final[tuple[tuple[str, Chart, tuple[Case, ...]], ...]] = (
    ("date", DATES, DATE_CASES),
    ("instant", INSTANTS, INSTANT_CASES),
    ("token", TOKENS, TOKEN_CASES),
    ("reference", REFERENCES, REFERENCE_CASES),
    ("chain", CHAINS, CHAIN_CASES),
    ("include", INCLUDES, INCLUDE_CASES),
)


@pytest.fixture(scope="module")
async def charts(mongodb: str) -> AsyncIterator[dict[str, Service]]:
    """A tenant for each chart, loaded once: no case writes."""
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
        loaded: dict[str, Service] = {}
        for name, chart, _ in CHARTS:
            tenant = await service.new_tenant(search_scope=SearchScope.ANY)
            await tenant.load(*(_based(one, tenant.base) for one in chart))
            if any(one["id"] == "gone" for one in chart):
                assert (await tenant.delete("Patient/gone")).status == 204
            loaded[name] = tenant
        yield loaded


def _based(value: Any, base: str) -> Any:
    """With the tenant's base URL wherever `{BASE}` stands."""
    if isinstance(value, dict):
        return {name: _based(inner, base) for name, inner in value.items()}
    if isinstance(value, list):
        return [_based(inner, base) for inner in value]
    return value.replace("{BASE}", base) if isinstance(value, str) else value


def _included(answer: Answer) -> list[str]:
    entries = [e["resource"] for e in answer.body.get("entry", []) if e["search"]["mode"] == "include"]
    return sorted(f"{one['resourceType']}/{one['id']}" for one in entries)


def _check(case: Case, answer: Answer) -> None:
    if isinstance(case.found, int):
        assert answer.status == case.found, answer.text
        assert answer.body["resourceType"] == "OperationOutcome"
        return
    assert answer.status == 200, answer.text
    assert (sorted(answer.ids), answer.body["total"]) == (sorted(case.found.split()), len(case.found.split()))
    if case.include is not None:
        assert _included(answer) == case.include.split()


@pytest.mark.parametrize(
    ("chart", "case"),
    [
        pytest.param(name, case, id=f"{name}-{case.query}"[:120] + ("-strict" if case.prefer else ""))
        for name, _, cases in CHARTS
        for case in cases
    ],
)
async def test_a_case(charts: dict[str, Service], chart: str, case: Case) -> None:
    service = charts[chart]
    query = quote(case.query.replace("{BASE}", service.base), safe=AS_IT_STANDS)
    headers = {"prefer": case.prefer} if case.prefer else {}
    for way in (service.search, service.post_search):
        _check(case, await way(query, **headers))
