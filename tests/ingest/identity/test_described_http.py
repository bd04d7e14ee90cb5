"""Patients that a report only describes, and companions that share a number: a doubt makes two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import Case, fill, holds, lines, mr, msg, obs, pat, read, rep, told
from tests.support.fhir import refers

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]


ANN: Final = pat("p", name="Ann")
BOB: Final = pat("p", name="Bob", born="1960-02-02")


def inside(patient: Json, **more: Any) -> Json:
    return rep("r1", "#p", fill("F"), contained=[patient], **more)


def displayed(name: str, **more: Any) -> Json:
    return {**rep("r1", "", fill("F"), **more), "subject": {"display": name}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(inside(ANN), inside(BOB), id="contained"),
        pytest.param(
            inside(pat("p", mr("A"))), inside(pat("p", mr("B"))), id="contained, with record numbers"
        ),
        pytest.param(displayed("Ann"), displayed("Bob"), id="display alone"),
    ],
)
async def test_two_people_under_one_filler_number_are_two_reports(
    lab: Service, first: Json, second: Json
) -> None:
    await told(lab, Case("two", [msg(first, minute=1), msg(second, minute=2)], {}))
    assert len(await lines(lab, "")) == 2


async def test_the_report_of_one_described_person_is_updated(lab: Service) -> None:
    numbered = pat("p", mr("A"))
    for sent in (
        (msg(inside(ANN, status="preliminary"), minute=1), msg(inside(ANN), minute=2)),
        (msg(displayed("Ann", status="preliminary"), minute=1), msg(displayed("Ann"), minute=2)),
        (
            msg(inside(numbered, status="preliminary"), minute=1),
            msg(pat("1", mr("A")), rep("r1", "Patient/1", fill("F")), minute=2),
        ),
        (
            msg(pat("1", mr("A")), rep("r1", "Patient/1", fill("F"), status="preliminary"), minute=1),
            msg(inside(numbered), minute=2),
        ),
    ):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        await told(tenant, Case("one", sent, {}))
        assert [one.partition(" of ")[0] for one in await lines(tenant, "")] == ["CBC final"]


@pytest.mark.parametrize("name", ["UNKNOWN", "Unknown Unknown"])
async def test_a_name_that_stands_for_none_joins_nobody(lab: Service, name: str) -> None:
    nobody = pat("p", name=name, born="1900-01-01")
    sent = [msg(nobody, rep("r1", "Patient/p", fill(f"F{n}")), minute=n) for n in (1, 2)]
    await holds(lab, Case("nobody", sent, {}, patients=2))


@pytest.mark.parametrize(
    ("born", "people"), [("1980-05-06", 1), ("1980-05", 2), ("1980", 2), ("1900-01-01", 2), ("0001-01-01", 2)]
)
async def test_a_name_without_a_day_of_birth_joins_nobody(lab: Service, born: str, people: int) -> None:
    """Many share a name and a year, or a day that systems fill in."""
    bob = pat("p", name="Bob", born=born)
    sent = [msg(bob, rep("r1", "Patient/p", fill(f"F{n}")), minute=n) for n in (1, 2)]
    again = msg(bob, rep("r1", "Patient/p", fill("F1")), minute=3)
    await holds(lab, Case("a name", [*sent, again], {"": ["CBC final of Bob"] * 2}, patients=people))


async def test_a_record_number_without_a_system_gives_way_to_name_and_birth_date(lab: Service) -> None:
    one = {name: value for name, value in mr("1").items() if name != "system"}
    sent = [
        msg(pat("1", one), rep("r1", "Patient/1", fill("F1")), minute=1, source=None),
        msg(
            pat("1", one, name="Bob", born="1960-02-02"),
            rep("r1", "Patient/1", fill("F2")),
            minute=2,
            source=None,
        ),
    ]
    found = {"": ["CBC final of Ann", "CBC final of Bob"]}
    await holds(lab, Case("no system", sent, found, patients=2))


@pytest.mark.parametrize(
    ("kind", "source", "moves"),
    [(None, None, False), ("FILL", None, False), (None, "urn:lab", False), ("FILL", "urn:lab", True)],
)
async def test_a_report_does_not_move_by_a_number_that_may_be_another_senders(
    lab: Service, kind: str | None, source: str | None, *, moves: bool
) -> None:
    mine = {name: value for name, value in fill("17", kind).items() if name != "system"}
    sent = [
        msg(
            pat("1", mr(name), name=name),
            rep("r1", "Patient/1", mine, status=status),
            minute=n,
            source=source,
        )
        for n, (name, status) in enumerate((("Ann", "final"), ("Bob", "corrected")))
    ]
    found = ["CBC corrected of Bob", *([] if moves else ["CBC final of Ann"])]
    await holds(lab, Case("17", sent, {"": found}, patients=2))


def device(name: str) -> Json:
    return {"resourceType": "Device", "id": "d", "deviceName": [{"name": name, "type": "other"}]}


def implant(_: str) -> Json:
    """A device that says nothing but whose it is."""
    return {"resourceType": "Device", "id": "d", "patient": refers("Patient/1")}


def team(_: str) -> Json:
    return {"resourceType": "CareTeam", "id": "d", "subject": refers("Patient/1")}


def role(name: str) -> Json:
    return {"resourceType": "PractitionerRole", "id": "d", "code": [{"text": name}]}


def office(name: str) -> Json:
    return {"resourceType": "Organization", "id": "d", "name": name}


@pytest.mark.parametrize(
    ("make", "kind"),
    [(device, None), (implant, None), (team, None), (role, "NPI"), (office, "TAX")],
    ids=["device", "implant", "team", "role", "office"],
)
async def test_a_number_that_companions_share_joins_none_that_say_other_things(
    lab: Service, make: Any, kind: str | None
) -> None:
    for n, (name, born) in enumerate((("Ann", "1950-01-01"), ("Bob", "1960-02-02"))):
        of = make(name) | {"identifier": [number("x", "1", kind)]}
        at = refers(f"{of['resourceType']}/d")
        used = make in (device, implant)
        result = obs("o", "Patient/1", "K", name, device=at) if used else None
        leads = {"results": ["Observation/o"]} if used else {"performer": [at]}
        report = rep("r1", "Patient/1", fill(name), **leads)
        sent = [one for one in (pat("1", mr(name), name=name, born=born), of, result, report) if one]
        await told(lab, Case("companion", [msg(*sent, minute=n)], {}))
    for name in ("Ann", "Bob"):
        answer = await lab.get(f"DiagnosticReport?identifier={name}")
        (entry,) = answer.matches
        report = entry["resource"]
        led = report.get("result") or report["performer"]
        found = await read(lab, led[0])
        found = await read(lab, found["device"]) if "device" in found else found
        whose = found.get("patient") or found.get("subject")
        said = (await read(lab, whose))["name"][0]["text"] if whose else str(found)
        assert name in said
