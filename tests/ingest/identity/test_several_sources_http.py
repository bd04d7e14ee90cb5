"""A patient of whom several sources tell, each by its own numbers: what one gave, no other takes away."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest

from ingest.writes import filing
from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support import hl7v2
from tests.support.cases import all_of, fill, in_any_order, lines, mr, msg, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Answer, Service

Json = dict[str, Any]
H, L = "urn:made-up:hospital", "urn:made-up:laboratory"
SS: Final = number("ss", "9", "SS")
OWN: Final = number("labs", "L7", "PI")
ANN: Final = "CBC final of Ann"


def told(minute: int, source: str, *numbers: Json, **who: Any) -> Json:
    filler = fill(f"F{minute}")
    return msg(pat("1", *numbers, **who), rep("r1", "Patient/1", filler), minute=minute, source=source)


async def sent(lab: Service, message: Json) -> Answer:
    answer = await send(lab, message)
    assert answer.status == 200, answer.text
    return answer


async def values(lab: Service) -> list[list[str]]:
    """The numbers of each patient as they are shown."""
    found = await all_of(lab, "Patient?_count=9")
    return [sorted(one["value"] for one in patient["identifier"]) for patient in found]


async def test_a_message_with_a_weak_number_takes_no_record_number_away(lab: Service) -> None:
    news = (told(1, H, mr("A"), SS), told(2, L, SS), told(3, L, SS, OWN))

    async def one_patient(tenant: Service, order: Sequence[Json]) -> None:
        for one in order:
            await sent(tenant, one)
        assert [await lines(tenant, asked) for asked in ("mr|A", "ss|9", "labs|L7")] == [[ANN] * 3] * 3
        assert await values(tenant) == [["9", "A", "L7"]]

    await in_any_order(lab, news, one_patient)


async def test_a_source_takes_back_what_it_gave_itself(lab: Service) -> None:
    news = (told(1, H, mr("A"), SS), told(2, L, SS), told(3, H, SS))

    async def taken_back(tenant: Service, order: Sequence[Json]) -> None:
        for one in order:
            await sent(tenant, one)
        assert [await lines(tenant, asked) for asked in ("mr|A", "ss|9")] == [[], [ANN] * 3]

    await in_any_order(lab, news, taken_back)


async def test_a_number_that_was_put_stays(lab: Service) -> None:
    await lab.load(pat("ours", mr("A"), SS), rep("r0", "Patient/ours", fill("F0")))
    await sent(lab, told(1, L, SS))
    assert await lines(lab, "mr|A") == [ANN] * 2
    await lab.load(pat("ours", SS))
    assert await lines(lab, "mr|A") == []


async def test_another_record_number_still_speaks_against_a_weak_one(lab: Service) -> None:
    """After the laboratory's message, too, whose list has no record number."""
    for one in (told(1, H, mr("A"), SS), told(2, L, SS), told(3, H, mr("B"), SS)):
        await sent(lab, one)
    assert await lines(lab, "mr|A") == [ANN] * 2
    assert await lines(lab, "mr|B") == [ANN]


async def test_a_record_that_is_somebody_elses_by_now_keeps_nobodys_numbers(lab: Service) -> None:
    carl: Json = {"name": "Carl", "born": "1990-09-09"}
    for one in (told(1, H, mr("A")), told(2, L, mr("A"), OWN), told(3, H, mr("A"), **carl), told(4, L, OWN)):
        await sent(lab, one)
    assert await lines(lab, "labs|L7") == [ANN]


async def test_a_number_without_a_system_stays_its_givers(lab: Service) -> None:
    """Kept in another source's version it is no number of that source's."""
    bare: Json = {"type": mr("7")["type"], "value": "7"}
    twin: Json = {"name": "Bea"}
    for one in (told(1, H, bare, SS), told(2, L, SS), told(3, L, bare, **twin), told(4, H, bare)):
        await sent(lab, one)
    assert sorted(await values(lab)) == [["7"], ["7", "9"]]
    assert await lines(lab, "ss|9") == [ANN] * 3


async def test_news_of_two_sources_at_once(lab: Service) -> None:
    """The hospital's list comes between the look of the laboratory's message and its write."""
    await sent(lab, told(1, L, SS))
    put, turns = filing.put_each, iter([True])

    async def behind(*arguments: Any, **more: Any) -> Any:
        if next(turns, False):
            await sent(lab, told(2, H, mr("A"), SS))
        return await put(*arguments, **more)

    with patch("ingest.messages.execution.filing.put_each", behind):
        await sent(lab, told(3, L, SS, name="Ann Reed"))
    assert len(await lines(lab, "mr|A")) == 3
    assert await values(lab) == [["9", "A"]]


async def test_a_list_of_hl7_keeps_what_others_gave_and_takes_no_bare_number_for_its_own(
    lab: Service,
) -> None:
    bare: Json = {"type": mr("7")["type"], "value": "7"}
    await sent(lab, told(1, H, mr("A"), bare, SS))
    pids = f"PID|1||9^^^&{SS['system']}&URI^SS||Ann||19500101|F", "PID|1||7^^^^MR||Bea||19500101|F"
    for n, pid in enumerate(pids):
        message = hl7v2.message(pid, hl7v2.obr(f"F-{n}"), number=f"M-{n}", time=f"2026112210{n}000+0000")
        assert "MSA|AA" in (await hl7v2.send(lab, message)).text
    assert sorted(await values(lab)) == [["7"], ["7", "9", "A"]]
    found = await all_of(lab, "DiagnosticReport?patient.identifier=urn:made-up:mr|A")
    assert len(found) == 2


async def test_a_laboratory_that_gives_no_birth_date_and_an_initial_tells_of_nobody_else(
    lab: Service,
) -> None:
    news = told(1, H, mr("A"), SS, name="Ann Arbor"), told(2, L, mr("A"), name="A Arbor", born=None)
    for order in permutations(news):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for one in order:
            await sent(tenant, one)
        assert len(await lines(tenant, "ss|9")) == 2


@pytest.mark.parametrize("more", [(), (SS,)])
async def test_sources_that_tell_of_a_new_patient_at_once_each_keep_their_list(
    lab: Service, more: tuple[Json, ...]
) -> None:
    """Both give the record number, and one of them takes it back."""
    put, turns = filing.put_each, iter([True])

    async def behind(*arguments: Any, **more: Any) -> Any:
        if next(turns, False):
            await sent(lab, told(2, L, mr("A")))
        return await put(*arguments, **more)

    with patch("ingest.messages.execution.filing.put_each", behind):
        await sent(lab, told(3, H, mr("A"), *more))
    await sent(lab, told(4, H, mr("A"), SS))
    await sent(lab, told(5, H, SS))
    assert len(await lines(lab, "mr|A")) == 4


async def test_a_laboratory_that_fits_two_people_links_them_not(lab: Service) -> None:
    """Number, name and birth date are both's; their record numbers are two of one hospital."""
    licence = number("dl", "7", "DL")
    for one in (told(1, H, mr("A"), SS, licence), told(2, H, mr("B"), SS), told(3, L, SS, licence)):
        await sent(lab, one)
    assert await lines(lab, "mr|A") == [ANN] * 2
    assert await lines(lab, "mr|B") == [ANN]
