"""Made-up messages in the manner of 26 kinds of senders: each field is where FHIR has it.

Hospitals, laboratories, radiology, blood bank, genetics, microbiology with susceptibilities, an ECG, public
health, dictation and points of care: with the fields, segments and habits that each of them has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.hl7v2.batches import split
from ingest.hl7v2.profile import DEFAULT_PROFILE
from ingest.hl7v2.reader import read
from ingest.hl7v2.translate import translate
from ingest.pipeline.stamp import dump
from tests.oracle.mapping.hl7v2 import missing

MESSAGES = list(split(Path(__file__).with_name("senders.hl7").read_bytes()))


def made_of(message: bytes) -> list[Any]:
    """The resources of a message, each with the URL that others refer to it by."""
    translation = translate(read(message), DEFAULT_PROFILE)
    assert translation.bundle is not None, translation.faults
    entries = json.loads(dump(translation.bundle), parse_float=str)["entry"]
    return [{**one["resource"], "_url": one["fullUrl"]} for one in entries]


def test_all_messages_are_there() -> None:
    assert len(MESSAGES) == 26


@pytest.mark.parametrize("message", MESSAGES, ids=[one.split(b"|")[2].decode() for one in MESSAGES])
def test_each_field_is_where_fhir_has_it(message: bytes) -> None:
    found = made_of(message)
    assert list(missing(message.decode().replace("\n", "\r"), found)) == []
    for one in found:
        if one["resourceType"] == "Observation" and any(name.startswith("value") for name in one):
            assert "dataAbsentReason" not in one


def test_susceptibilities_lead_to_their_organism() -> None:
    [message] = [one for one in MESSAGES if b"HNAM_ORDERID" in one]
    results = [one for one in made_of(message) if one["resourceType"] == "Observation"]
    [organism] = [one for one in results if one["code"]["coding"][0]["code"] == "ORG"]
    parents = [one["derivedFrom"][0]["identifier"] for one in results if "derivedFrom" in one]
    assert len(parents) == 3
    assert all(one == organism["identifier"][0] for one in parents)
