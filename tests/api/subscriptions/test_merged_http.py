"""Patients that are merged, or become somebody else, while notifications wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

from api.subscriptions.app_keys import SUBSCRIPTIONS
from store.tenancy import SearchScope
from tests.api.subscriptions.subscribing import active, subscribing
from tests.support.cases import all_of, fill, mr, msg, pat, rep
from tests.support.feed import send
from tests.support.receiver import receiver
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.fhir import Json
    from tests.support.receiver import Receiver
    from tests.support.service import Service

CARL: Final[Json] = {"name": "Carl", "born": "1990-09-09"}


@pytest.fixture(scope="module")
async def service(mongodb: str) -> AsyncIterator[Service]:
    async with subscribing(mongodb, f"dod_{uuid4().hex[:12]}") as opened:
        yield opened


@pytest.fixture
async def lab(service: Service) -> Service:
    return await service.new_tenant(search_scope=SearchScope.ANY)


async def told(lab: Service, minute: int, filler: str, *numbers: Json, **who: Any) -> None:
    sent = msg(pat("1", *numbers, **who), rep("r1", "Patient/1", fill(filler)), minute=minute)
    assert (await send(lab, sent)).status == 200


async def subscribed(lab: Service, at: Receiver, *names: str) -> None:
    for name in names:
        filters = f"patient.identifier=urn:made-up:mr%7C{name.removeprefix('mr')}"
        sent = {**asked(filters, endpoint=f"{at.url}/{name}", content="full-resource"), "id": name}
        assert (await lab.put(sent)).status == 201
    await active(at, len(names))


async def held(lab: Service, *names: str, held: bool) -> None:
    for name in names:
        assert await lab._app[SUBSCRIPTIONS].pause(lab.tenant, name, paused=held)


async def status(lab: Service) -> str:
    return (await lab.get("Subscription/mr1/$status")).text


def shown(at: Receiver, name: str) -> set[str]:
    """Filler numbers of all reports that were sent to a subscriber."""
    came = [one for one in at.of("event-notification") if one.path.endswith(name)]
    sent = [entry["resource"] for one in came for entry in one.json["entry"][1:] if "resource" in entry]
    return {one["value"] for report in sent for one in report.get("identifier", [])}


async def test_who_asked_by_either_number_sees_the_reports_of_both_once_they_are_one(lab: Service) -> None:
    async with receiver() as at:
        await subscribed(lab, at, "mr1", "mr2")
        await held(lab, "mr1", "mr2", held=True)
        await told(lab, 1, "F1", mr("1"))
        await told(lab, 2, "F2", mr("2"), mr("1", use="old"))
        await held(lab, "mr1", "mr2", held=False)
        await at.until(lambda: "F2" in shown(at, "mr1") & shown(at, "mr2"))
        assert shown(at, "mr1") == {"F1", "F2"}


async def test_nothing_of_who_has_the_record_now_is_sent_to_who_asked_for_the_other(lab: Service) -> None:
    """A report that was counted for Ann, and is filed under Carl by the time it is sent."""
    async with receiver() as at:
        await subscribed(lab, at, "mr1")
        await told(lab, 1, "F1", mr("1"))
        await at.until(lambda: shown(at, "mr1") == {"F1"})
        [record] = await all_of(lab, "Patient?identifier=urn:made-up:mr|1")
        await held(lab, "mr1", held=True)
        await told(lab, 2, "F2", mr("1"))
        while '"events-since-subscription-start","valueString":"2"' not in (await status(lab)):
            pass  # It is counted for Ann.
        await lab.load(pat(record["id"], mr("3"), **CARL))
        at.came.clear()
        await held(lab, "mr1", held=False)
        await at.until(lambda: bool(at.told))
        assert shown(at, "mr1") == set()
        assert [(key, change) for _, key, change in at.told] == [("", "")]
