"""Odd resources in one tenant, asked odd questions; all answers that are wrong are told at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from store.tenancy import SearchScope
from tests.api.search.odd_cases import CASES, RESOURCES
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer

AS_IT_STANDS: Final = "=&:/|,$"


def _told(answer: Answer) -> str:
    return " ".join(sorted(answer.ids)) if answer.status == 200 else str(answer.status)


async def test_odd_searches_find_what_the_text_of_r4_says(mongodb: str) -> None:
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
        await service.load(*json.loads(json.dumps(RESOURCES).replace("{BASE}", service.base)))
        wrong = []
        for type, query, found in CASES:
            asked = quote(query.replace("{BASE}", service.base), safe=AS_IT_STANDS)
            told = _told(await service.search(asked, type=type))
            if told != (expected := " ".join(sorted(found.split()))):
                wrong.append((f"{type}?{query}", told, expected))
        assert wrong == []
