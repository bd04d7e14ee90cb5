"""Mentions of a patient in messages that were never taken apart."""

from __future__ import annotations

import pytest

from store.retention.erased_names import PATIENT, Name
from store.retention.erasure import FullName, Wanted
from store.retention.subjects import identifier

MESSAGE = "MSH|^~\\&|LAB\rPID|1||ANNA-4711^^^HOSP^MR~99||Müller^Anna^Maria||19700203|F\rOBX|1|ST|x||text"


def wanted(*numbers: str, name: FullName | None = None) -> Wanted:
    names = frozenset(Name(PATIENT, identifier("urn:any", number)) for number in numbers)
    return Wanted(names, () if name is None else (name,))


ANNA = FullName("Müller", ("Anna",), "1970-02-03")


@pytest.mark.parametrize(
    ("body", "asked", "found"),
    [
        (MESSAGE, wanted("ANNA-4711"), True),
        (MESSAGE, wanted("ANNA-471"), False),
        (MESSAGE, wanted("NNA-4711"), False),
        (MESSAGE, wanted("4711"), True),  # A part between characters that are no letters: rather too many.
        (MESSAGE, wanted("99"), True),
        (MESSAGE.replace("|", "#").replace("^", "$"), wanted("ANNA-4711"), True),
        ("BHS|^~\\&\r" + MESSAGE, wanted("ANNA-4711"), True),
        (MESSAGE, wanted(name=ANNA), True),
        (MESSAGE, wanted(name=ANNA._replace(born="1970")), True),
        (MESSAGE, wanted(name=ANNA._replace(born="1971-02-03")), False),
        (MESSAGE, wanted(name=ANNA._replace(born="")), True),
        (MESSAGE, wanted(name=ANNA._replace(given=("Bert",))), False),
        (MESSAGE.replace("19700203", ""), wanted(name=ANNA), True),
        ('{"name": [{"text": "Anna Muller"}]}', wanted(name=FullName("Anna Muller", (), "")), True),
        ('{"name": [{"text": "Anna Muller-Lee"}]}', wanted(name=FullName("Anna Muller", (), "")), False),
        (
            '{"resourceType": "Patient", "x": "ANNA-4711"}',
            wanted("ANNA-4711"),
            False,
        ),  # As before: with a system.
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "iso8859-1"])
def test_a_letter_with_a_message_is_about_whom_it_names(
    body: str, asked: Wanted, found: bool, charset: str
) -> None:
    assert asked.in_letter(body.encode(charset), "$hl7v2?source=lab", {}) is found
