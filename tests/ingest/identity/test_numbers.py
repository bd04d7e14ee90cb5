"""Identifiers as evidence: which are, how surely, and which are former."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.pipeline.identity.numbers import Number, Numbers, Rank, numbers_of
from ingest.pipeline.placeholders import is_placeholder, placeholder_words
from ingest.settings import IngestSettings

WORDS = placeholder_words(IngestSettings().identity_placeholders)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def read(resource_type: str, *identifiers: Any, source: str = "") -> Numbers:
    resource = {"resourceType": resource_type, "identifier": list(identifiers)}
    return numbers_of(resource, placeholders=WORDS, source=source, now=NOW)


def number(value: str = "7", kind: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"type": {"coding": [{"code": kind}]}} if kind else {}
    return {"system": "urn:n", "value": value, **told, **more}


@pytest.mark.parametrize(
    ("resource_type", "kind", "rank"),
    [
        ("Patient", "MR", Rank.STRONG),
        ("Patient", "PI", Rank.STRONG),
        ("Patient", "SS", Rank.WEAK),
        ("Patient", "NI", Rank.WEAK),
        ("Patient", None, Rank.WEAK),
        ("Patient", "AN", None),
        ("Patient", "VN", None),
        ("Patient", "SN", None),
        ("Patient", "MB", None),
        ("Patient", "FI", None),
        ("Patient", "MRT", None),
        ("DiagnosticReport", "FILL", Rank.STRONG),
        ("DiagnosticReport", "ACSN", Rank.SHARED),
        ("DiagnosticReport", "PLAC", Rank.ORDER),
        ("DiagnosticReport", "PGN", Rank.ORDER),
        ("DiagnosticReport", None, Rank.WEAK),
        ("DiagnosticReport", "MR", None),
        ("DiagnosticReport", "VN", None),
        ("Encounter", "VN", Rank.STRONG),
        ("Practitioner", "NPI", Rank.STRONG),
        ("Practitioner", "AN", None),
    ],
)
def test_types_of_numbers(resource_type: str, kind: str | None, rank: Rank | None) -> None:
    found = read(resource_type, number(kind=kind)).current
    assert found == (() if rank is None else (Number(rank, "urn:n", "7"),))


@pytest.mark.parametrize(
    ("more", "current", "former"),
    [
        pytest.param({"use": "usual"}, True, False, id="usual"),
        pytest.param({"use": "official"}, True, False, id="official"),
        pytest.param({"use": "temp"}, False, False, id="temporary"),
        pytest.param({"use": "secondary"}, False, False, id="secondary"),
        pytest.param({"use": "old"}, False, True, id="old: of a record that was merged"),
        pytest.param({"period": {"end": "2026-05-31"}}, False, False, id="ended"),
        pytest.param({"period": {"end": "2026-06-01"}}, True, False, id="ends today"),
        pytest.param({"period": {"start": "2020"}}, True, False, id="goes on"),
        pytest.param({"period": [{"end": "2026-05-31"}]}, False, False, id="ended, in a list"),
        pytest.param({"period": {"end": "soon"}}, False, False, id="an end that is no date"),
        pytest.param({"period": {"end": "20150101"}}, False, False, id="an end as HL7 v2 writes it"),
        pytest.param({"use": "OLD"}, False, True, id="old, in capitals"),
        pytest.param({"use": " Temp"}, False, False, id="temporary, with a blank"),
        pytest.param({"use": ["secondary"]}, False, False, id="a use in a list"),
        pytest.param({"use": "retired"}, False, False, id="a use that R4 does not have"),
        pytest.param({"use": "Official"}, True, False, id="official, with a capital"),
        pytest.param({"period": "2020"}, True, False, id="a period that is none"),
        pytest.param({"system": None}, False, False, id="without a system, of nobody"),
        pytest.param({"system": ""}, False, False, id="an empty system"),
        pytest.param({"value": 7}, False, False, id="a value that is no text"),
    ],
)
def test_whether_a_number_is_evidence_now(more: dict[str, Any], current: bool, former: bool) -> None:
    found = read("Patient", {**number(kind="MR"), **more})
    assert (bool(found.current), bool(found.former)) == (current, former)


@pytest.mark.parametrize(
    "value",
    "0 000 000-00-0000 999999999 N/A n/a NA unknown Unknown NONE pending TEST temp null - . XXX ???".split(),
)
def test_a_placeholder_is_no_evidence(value: str) -> None:
    assert read("Patient", number(value, "MR")) == Numbers()


@pytest.mark.parametrize(
    "value",
    [
        *("НЕИЗВЕСТНО", "неизвестно", "不明", "未知", "なし", "INCONNU", "unbekannt", "Desconocido", "okänd"),
        *("ＵＮＫＮＯＷＮ", "Ｎ／Ａ", "０００", "٠٠٠", "۹۹۹", "\u200b", "？"),  # noqa: RUF001
        *("***-**-1234", "XXX-XX-1234", "xxxxx6789", "123-45-****", "#####", "●●●●1234"),
        *("111-11-1111", "2222222", "NO MRN", "not known", "declined"),
    ],
)
def test_a_placeholder_in_any_alphabet_or_behind_a_mask_is_no_evidence(value: str) -> None:
    assert read("Patient", number(value, "MR")) == Numbers()


@pytest.mark.parametrize(
    "value",
    ["7", "11", "TEST1", "NANCY", "100", "00700", "N1", "NONE7", "X9", "111111", "XX12", "MRN#12", "٧"],  # noqa: RUF001
)
def test_a_number_that_only_looks_a_little_like_a_placeholder(value: str) -> None:
    assert len(read("Patient", number(value, "MR")).current) == 1


def test_a_value_without_end_is_looked_at_in_one_pass() -> None:
    for value in ("x" * 1_000_000 + "A", "*" * 1_000_000, "e\u0301" * 200_000):
        is_placeholder(value, WORDS)


@pytest.mark.parametrize("kind", ["EN", "PNT", "NPI", "BA", "VS", "IND", "LI", "SNO"])
def test_numbers_of_employers_cards_trials_and_of_whoever_treats_are_nobodys(kind: str) -> None:
    assert read("Patient", number(kind=kind)) == Numbers()


@pytest.mark.parametrize(
    "told",
    [
        {"text": "Account Number"},
        {"text": "Household"},
        {"coding": [{"system": "urn:lab", "code": "POLICY"}]},
        {"coding": [{"system": "urn:lab", "code": "7", "display": "Subscriber no."}]},
        [{"text": ["Visit number"]}],
    ],
)
def test_a_kind_told_in_words_counts_as_one_told_by_code(told: Any) -> None:
    assert read("Patient", number(type=told)) == Numbers()
    assert len(read("DiagnosticReport", number(type=told)).current) == 1


def test_words_take_nothing_from_a_record_number() -> None:
    told = {"coding": [{"code": "MR"}], "text": "Record number of the family clinic"}
    assert read("Patient", number(type=told)).current[0].rank is Rank.STRONG


def test_a_number_without_a_system_is_also_its_assigners() -> None:
    def one(**assigner: Any) -> str:
        [found] = read("Patient", {"value": "7", "assigner": assigner}, source="source urn:lab").current
        return found.system

    told = {one(display="Lab A"), one(display="Lab B"), one(identifier={"value": "A"}), one()}
    assert len(told) == 4
    assert one(display="Lab  a") == one(display="LAB A", reference="Organization/1")


def test_the_end_of_a_number_is_kept() -> None:
    found = read("Patient", number(kind="MR", period={"end": "2027"}))
    assert found.ending == (("urn:n", "7", "2027"),)


def test_a_number_without_a_system_is_the_sources() -> None:
    [found] = read("Patient", {"value": "7"}, source="source urn:lab").current
    assert found == Number(Rank.WEAK, "source urn:lab", "7")


def test_a_type_that_came_as_a_list_counts() -> None:
    kind = [{"coding": [{"code": "MR"}]}]
    assert read("Patient", number(type=kind)).current[0].rank is Rank.STRONG


def test_the_accession_of_a_specimen_stands_in_for_its_number() -> None:
    accession: dict[str, Any] = {"resourceType": "Specimen", "accessionIdentifier": number("A")}
    both = {**accession, "identifier": [number("S")]}
    for specimen, value in ((accession, "A"), (both, "S")):
        found = numbers_of(specimen, placeholders=WORDS, source="", now=None)
        assert [one.value for one in found.current] == [value]


@pytest.mark.parametrize("identifier", ["x", 7, None, [["x"]], {"value": ["7"]}])
def test_a_malformed_identifier_is_not_identitys_to_refuse(identifier: Any) -> None:
    assert read("Patient", identifier) == Numbers()
