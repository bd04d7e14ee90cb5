"""A correction takes away the report of another patient only where more than the look of a number says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import Case, fill, holds, mr, msg, pat, rep
from tests.support.data_model import order, result, results_new

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
MINUTE, OTHER, DAY = "2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z", "2026-01-01"


class Pair(NamedTuple):
    """Two reports of one number and code, of two patients, and what tells them apart."""

    first: Json
    second: Json
    moves: bool
    sources: tuple[str | None, str | None] = ("urn:one", "urn:two")


def at(when: str) -> Json:
    return {"effectiveDateTime": when}


PAIRS: Final = {
    "nothing": Pair({}, {}, moves=False),
    "of one sender": Pair({}, {}, moves=True, sources=("urn:one", "urn:one")),
    "of senders without a name": Pair({}, {}, moves=True, sources=(None, "urn:two")),
    "of which one has no name": Pair({}, {}, moves=True, sources=("urn:one", None)),
    "one minute": Pair(at(MINUTE), at(MINUTE), moves=True),
    "another minute": Pair(at(MINUTE), at(OTHER), moves=False),
    "one day: numbers may begin anew each day": Pair(at(DAY), at(DAY), moves=False),
    "the minute of one": Pair(at(MINUTE), {}, moves=False),
}


@pytest.mark.parametrize("status", ["corrected", "cancelled"])
@pytest.mark.parametrize("name", PAIRS)
async def test_two_facilities_that_count_alike(lab: Service, name: str, status: str) -> None:
    one = PAIRS[name]
    sent = (
        msg(ANN, rep("r1", "Patient/1", fill("F"), **one.first), minute=1, source=one.sources[0]),
        msg(
            BOB,
            rep("r1", "Patient/1", fill("F"), status=status, **one.second),
            minute=2,
            source=one.sources[1],
        ),
    )
    kept = [] if one.moves else ["CBC final of Ann"]
    found = {"mr|A": kept, "mr|B": [f"CBC {status} of Bob"]}
    for order_ in (sent, sent[::-1]):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        await holds(tenant, Case(name, order_, found))


@pytest.mark.parametrize("kind", ["PLAC", "PGN"])
async def test_a_number_of_an_order_is_not_the_same_number_of_a_filler(lab: Service, kind: str) -> None:
    """A profile's `default_order_authority` is the system of both."""

    def one(minute: int, patient: Json, filler: str, placer: str, status: str) -> Json:
        numbers = number("orders", filler, "FILL"), number("orders", placer, kind)
        return msg(patient, rep("r1", "Patient/1", *numbers, status=status), minute=minute)

    sent = one(1, ANN, "1001", "2001", "final"), one(2, BOB, "5005", "1001", "corrected")
    found = {"mr|A": ["CBC final of Ann"], "mr|B": ["CBC corrected of Bob"]}
    for order_ in (sent, sent[::-1]):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        await holds(tenant, Case(kind, order_, found))


def model(source: str, mrn: str, name: str, status: str, minute: int, **changed: Any) -> Json:
    event = f"2026-11-20T10:{minute:02}:00.000Z"
    meta = {"EventDateTime": event, "Source": {"ID": source}, "Destinations": []}
    told = results_new(meta=meta)
    told["Orders"] = [order(result(value=f"{minute}"), ResultsStatus=status, ID=mrn, **changed)]
    who = {"FirstName": name, "LastName": name, "DOB": f"19{minute}0-02-03", "Sex": "Female"}
    told["Patient"] = {"Identifiers": [{"ID": mrn, "IDType": "MR"}], "Demographics": who}
    return told


@pytest.mark.parametrize("sources", [("a", "a"), ("a", "b")])
async def test_facilities_whose_orders_have_one_system_in_the_data_model(
    lab: Service, sources: tuple[str, str]
) -> None:
    moves = sources[0] == sources[1]
    untimed = {"CollectionDateTime": None, "TransactionDateTime": None}
    for source, mrn, name, status, minute in (
        (sources[0], "A", "Ann", "Final", 1),
        (sources[1], "B", "Bob", "Corrected", 2),
    ):
        body = model(source, mrn, name, status, minute, **untimed)
        answer = await lab.request("POST", "$data-model", body, content_type="application/json")
        assert answer.status == 200, answer.text
    numbers = [len((await lab.search(f"patient.identifier={mrn}")).ids) for mrn in "AB"]
    assert numbers == [0 if moves else 1, 1]
