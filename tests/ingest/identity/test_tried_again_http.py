"""A message that is written in part, refused and tried again comes out as if it had been written once.

Another sender changes its patient meanwhile, so that a part is taken back; others see that part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from ingest.messages import carrying
from ingest.messages.execution import execute
from store.errors import Category, ServiceError
from store.resources.versions import ANOTHER_BY_NOW
from store.tenancy import SearchScope
from tests.ingest.identity.test_at_once_http import ANN, BOB, behind_plan
from tests.support.cases import fill, lines, msg, obs, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from ingest.writes.push_context import PushContext
    from tests.support.service import Service

Json = dict[str, Any]
DAY: Final = {"effectiveDateTime": "2026-01-02"}


def taken_back(
    monkeypatch: pytest.MonkeyPatch, service: Service, codes: str, *meanwhile: Json, times: int = 1
) -> None:
    """Let the next message be written, seen by others, refused, and its reports of these codes taken back."""
    left = [times]

    async def refused(ctx: PushContext, *given: Any, **named: Any) -> Any:
        done = await execute(ctx, *given, **named)
        monkeypatch.setattr(carrying, "execute", execute)
        for one in meanwhile if left[0] == times else ():
            assert (await send(service, one)).status == 200
        for key, made in done.taken.unique.items():
            if key.type == "DiagnosticReport" and (made.identity or {})["title"] in codes.lower().split():
                await ctx.store.delete(ctx.tenant, key)
        left[0] -= 1
        if left[0]:
            monkeypatch.setattr(carrying, "execute", refused)
        raise ServiceError(Category.PRECONDITION, ANOTHER_BY_NOW)

    monkeypatch.setattr(carrying, "execute", refused)


@pytest.mark.parametrize("times", [1, 3], ids=["once", "thrice"])
async def test_who_met_a_part_that_was_taken_back_was_decided_behind_it(
    lab: Service, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The correction means the second report, as the first has its id and another code."""
    first = msg(ANN, rep("r1", "Patient/1", fill("F"), code="CMP", status="preliminary"), minute=34)
    second = msg(ANN, rep("r2", "Patient/1", fill("F"), status="preliminary"), minute=53)
    correction = msg(ANN, rep("r1", "Patient/1", fill("F"), status="cancelled", **DAY), minute=57)
    wanted = await told(await lab.new_tenant(search_scope=SearchScope.ANY), second, first, correction)
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    await told(tenant, second)
    taken_back(monkeypatch, tenant, "CMP", correction, times=times)
    assert await told(tenant, first) == wanted == ["CBC cancelled of Ann", "CMP preliminary of Ann"]


def both(minute: int, patient: Json, status: str) -> Json:
    """Reports under two numbers, of which nothing but number and code tells what they are."""
    reports = [
        rep(
            f"{minute:08}-1111-4222-8333-44445555666{number}",
            "Patient/1",
            fill(f"F{number}"),
            code=code,
            status=status,
            results=[f"Observation/{code}"],
        )
        for number, code in enumerate(("CBC", "CMP"))
    ]
    results = [obs(code, "Patient/1", "K", str(minute)) for code in ("CBC", "CMP")]
    return msg(patient, *reports, *results, minute=minute)


@pytest.mark.parametrize("codes", ["", "CMP", "CBC CMP"], ids=["none", "one", "both"])
async def test_what_a_message_made_itself_is_not_its_patients_earlier_report(
    lab: Service, monkeypatch: pytest.MonkeyPatch, codes: str
) -> None:
    """A part of the first attempt that is still there mends a mix-up, as well as what is taken from Bob."""
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    await told(tenant, msg(ANN, minute=0), msg(BOB, minute=0))
    behind_plan(monkeypatch, tenant, both(2, BOB, "final"), lambda: taken_back(monkeypatch, tenant, codes))
    found = await told(tenant, both(5, ANN, "corrected"))
    assert found == ["CBC corrected of Ann: K=5", "CMP corrected of Ann: K=5"]


async def told(tenant: Service, *sent: Json) -> list[str]:
    for message in sent:
        answer = await send(tenant, message)
        assert answer.status == 200, answer.text
    return await lines(tenant, "")
