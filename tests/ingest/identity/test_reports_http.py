"""Identity of reports over HTTP: a case for each row of the table, and its brothers, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import moment, number
from tests.support.cases import (
    Case,
    all_of,
    fill,
    holds,
    holds_in_any_order,
    lines,
    mr,
    msg,
    obs,
    outcomes,
    pat,
    rep,
)
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
KINDS: Final = ("FILL", "ACSN", "PLAC", None)
PLAIN: Final = ("final", "preliminary", "registered", "partial")
MENDED: Final = ("corrected", "amended", "cancelled", "entered-in-error")


def told(minute: int, *reports: Json, patient: Json = ANN, more: Sequence[Json] = ()) -> Json:
    return msg(patient, *reports, *more, minute=minute)


def panel(id: str, code: str, kind: str | None = "FILL", **more: Any) -> Json:
    return rep(id, "Patient/1", fill("N", kind), code=code, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ids", [("cbc", "cmp"), ("r1", "r1")], ids=["ids", "one local id"])
async def test_as_many_reports_as_codes_each_corrected_by_itself(
    lab: Service, kind: str | None, ids: tuple[str, str]
) -> None:
    late = "final" if ids[0] == ids[1] else "corrected"
    sent = (
        told(1, panel(ids[0], "CBC", kind, status="preliminary")),
        told(2, panel(ids[1], "CMP", kind, status="preliminary")),
        told(3, panel(ids[1], "CMP", kind, status=late)),
    )
    found = {"mr|A": ["CBC preliminary of Ann", f"CMP {late} of Ann"]}
    await holds_in_any_order(lab, Case("panels", sent, found))


async def test_panels_in_one_message_in_either_order_of_entries(lab: Service) -> None:
    both = (panel("cbc", "CBC"), panel("cmp", "CMP", status="preliminary"))
    sent = (told(1, *both), told(2, *both[::-1]), told(3, panel("cmp", "CMP")))
    await holds_in_any_order(lab, Case("panels", sent, {"mr|A": ["CBC final of Ann", "CMP final of Ann"]}))


def dose(n: int, status: str = "final", **more: Any) -> Json:
    """Report of a tolerance test."""
    return panel(more.pop("id", f"gtt{n}"), "GTT", status=status, **more)


def timed(n: int, status: str = "final", **more: Any) -> Json:
    return dose(n, status, effectiveDateTime=moment(60 * n), **more)


def drawn(n: int, status: str = "final", **more: Any) -> tuple[Json, Json]:
    """Set of a blood culture, and its specimen."""
    own = number("specimen", f"S-{n}")
    specimen = {"resourceType": "Specimen", "id": f"s{n}", "identifier": [own], "type": {"text": f"set {n}"}}
    return dose(n, status, specimen=[{"reference": f"Specimen/s{n}"}], **more), specimen


THREE: Final = ["GTT final of Ann"] * 2 + ["GTT preliminary of Ann"]
APART: Final = {
    "ids in one message": (told(1, dose(1), dose(2), dose(3, "preliminary")),),
    "ids in several": (told(1, dose(1)), told(2, dose(2)), told(3, dose(3, "preliminary"))),
    "ids, corrected later": (
        told(1, dose(1, "preliminary"), dose(2), dose(3, "preliminary")),
        told(2, dose(1)),
    ),
    "times in one message": (told(1, timed(1), timed(2), timed(3, "preliminary")),),
    "times in several": (told(1, timed(1)), told(2, timed(2)), told(3, timed(3, "preliminary"))),
    "times under one local id": (
        told(1, timed(1, id="r1")),
        told(2, timed(2, id="r1")),
        told(3, timed(3, "preliminary", id="r1")),
    ),
    "times under one id that looks stable": (
        told(1, timed(1, id="report-58410-2")),
        told(2, timed(2, id="report-58410-2")),
        told(3, timed(3, "preliminary", id="report-58410-2")),
    ),
    "times under new ids": (
        told(1, timed(1, "preliminary", id="x"), timed(2, id="y"), timed(3, "preliminary", id="z")),
        told(2, timed(1, id="new")),
    ),
    "specimens in several": (
        told(1, *drawn(1)),
        told(2, *drawn(2)),
        told(3, *drawn(3, "preliminary")),
    ),
    "specimens under one local id": (
        told(1, *drawn(1, id="r1")),
        told(2, *drawn(2, id="r1")),
        told(3, *drawn(3, "preliminary", id="r1")),
    ),
    "specimens under new ids": (
        told(1, *drawn(1, "preliminary", id="x"), *drawn(2, id="y"), *drawn(3, "preliminary", id="z")),
        told(2, *drawn(1, id="new")),
    ),
}


@pytest.mark.parametrize("name", APART)
async def test_as_many_reports_as_the_source_tells_apart(lab: Service, name: str) -> None:
    wanted = THREE
    if "specimens" in name:
        wanted = [f"{one} + set {n}" for n, one in enumerate(THREE, start=1)]
    await holds_in_any_order(lab, Case(name, APART[name], {"mr|A": wanted}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("id", ["r1", "other"])
async def test_the_same_number_and_code_is_the_same_report_corrected(
    lab: Service, kind: str | None, id: str
) -> None:
    when = {"effectiveDateTime": moment(0)}
    sent = (
        told(1, panel("r1", "CBC", kind, status="preliminary", **when)),
        told(2, panel(id, "CBC", kind, **when)),
        told(3, panel(id, "CBC", kind, status="corrected", **when)),
    )
    await holds_in_any_order(lab, Case("corrected", sent, {"mr|A": ["CBC corrected of Ann"]}))


@pytest.mark.parametrize("status", MENDED)
async def test_the_same_number_and_own_id_with_another_code_is_the_same_report(
    lab: Service, status: str
) -> None:
    sent = (told(1, panel("r1", "CBC")), told(2, panel("r1", "CMP", status=status)))
    await holds_in_any_order(lab, Case("recoded", sent, {"mr|A": [f"CMP {status} of Ann"]}))


@pytest.mark.parametrize("status", PLAIN)
async def test_another_code_of_plain_status_is_another_report(lab: Service, status: str) -> None:
    sent = (told(1, panel("r1", "CBC")), told(2, panel("r1", "CMP", status=status)))
    found = {"mr|A": ["CBC final of Ann", f"CMP {status} of Ann"]}
    await holds_in_any_order(lab, Case("another", sent, found))


@pytest.mark.parametrize("status", MENDED)
@pytest.mark.parametrize("id", ["r1", "other"])
async def test_a_mended_mix_up_moves_the_report(lab: Service, status: str, id: str) -> None:
    sodium, potassium = obs("o1", "Patient/1", "Na", "140"), obs("o1", "Patient/1", "K", "4")
    led: Json = {"results": ["Observation/o1"]}
    sent = (
        told(1, panel("r1", "CBC", **led), more=(sodium,)),
        told(2, panel(id, "CBC", status=status, **led), patient=BOB, more=(potassium,)),
    )
    case = Case("moved", sent, {"mr|A": [], "mr|B": [f"CBC {status} of Bob: K=4"]}, doubt=1)
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    await holds(tenant, case)
    await holds_in_any_order(lab, case)
    [moved] = await all_of(tenant, "DiagnosticReport?_count=9")
    history = await tenant.get(f"DiagnosticReport/{moved['id']}/_history")
    assert [entry["resource"]["status"] for entry in history.body["entry"]][-1:] == ["final"]


@pytest.mark.parametrize("status", PLAIN)
@pytest.mark.parametrize("id", ["r1", "other"])
async def test_the_same_number_of_another_patient_is_two_reports(lab: Service, status: str, id: str) -> None:
    sodium, potassium = obs("o1", "Patient/1", "Na", "140"), obs("o1", "Patient/1", "K", "4")
    led: Json = {"results": ["Observation/o1"]}
    sent = (
        told(1, panel("r1", "CBC", **led), more=(sodium,)),
        told(2, panel(id, "CBC", status=status, **led), patient=BOB, more=(potassium,)),
    )
    found = {"mr|A": ["CBC final of Ann: Na=140"], "mr|B": [f"CBC {status} of Bob: K=4"]}
    await holds(await lab.new_tenant(search_scope=SearchScope.ANY), Case("two", sent, found, doubt=1))
    await holds_in_any_order(lab, Case("two", sent, found))


@pytest.mark.parametrize(
    "numbers",
    [(), *((fill(value),) for value in ("0", "N/A", "UNKNOWN", "NONE", "PENDING", "TEST", "pending"))],
    ids=lambda numbers: numbers[0]["value"] if numbers else "none",
)
async def test_without_a_number_a_local_id_is_within_a_patient_and_a_code(
    lab: Service, numbers: tuple[Json, ...]
) -> None:
    sent = (
        told(1, rep("r1", "Patient/1", *numbers)),
        told(2, rep("r1", "Patient/1", *numbers), patient=BOB),
        told(3, rep("r1", "Patient/1", *numbers, code="CMP")),
        told(4, rep("r1", "Patient/1", *numbers, status="corrected")),
    )
    found = {"mr|A": ["CBC corrected of Ann", "CMP final of Ann"], "mr|B": ["CBC final of Bob"]}
    await holds(lab, Case("no number", sent, found))


async def test_one_filler_number_in_two_systems_is_two_reports(lab: Service) -> None:
    other = rep("r2", "Patient/1", number("others", "N", "FILL"))
    sent = (told(1, panel("r1", "CBC")), told(2, other))
    await holds_in_any_order(lab, Case("systems", sent, {"mr|A": ["CBC final of Ann"] * 2}))


async def test_a_reply_that_made_two_of_a_doubt_says_so_and_a_plain_one_does_not(lab: Service) -> None:
    plain = await send(lab, told(1, panel("r1", "CBC")))
    assert not outcomes(plain)
    doubtful = await send(lab, told(2, panel("r1", "CBC"), patient=BOB))
    assert outcomes(doubtful)
    assert len(await lines(lab, "")) == 2
