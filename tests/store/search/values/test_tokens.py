"""Tokens: the stored spellings against the match rules in words.

https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir.datatypes import Malformed, Number
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.values import tokens
from store.search.values.tokens import canonical_system

REPORT = TYPES["DiagnosticReport"].by_name
CODE, IDENTIFIER, STATUS, ID = (REPORT[name] for name in ("code", "identifier", "status", "_id"))
ACTIVE = TYPES["Patient"].by_name["active"]
STATUS_SYSTEM = "http://hl7.org/fhir/diagnostic-report-status"


def found(asked: str, stored: Any, parameter: Parameter) -> bool:
    """Whether a search value finds an element."""
    return tokens.parse(asked, parameter) in tokens.index(stored, parameter, "p")


def concept(*codings: dict[str, Any]) -> dict[str, Any]:
    return {"coding": list(codings), "text": "made up"}


A_X = {"system": "http://a.test", "code": "X-1"}
B_Y = {"system": "http://b.test", "code": "Y"}
ALONE = {"code": "Z"}


@pytest.mark.parametrize(
    ("asked", "stored", "parameter", "expected"),
    [
        pytest.param("X-1", concept(A_X), CODE, True, id="code: any system"),
        pytest.param("Z", concept(ALONE), CODE, True, id="code: no system"),
        pytest.param("x-1", concept(A_X), CODE, True, id="codes are folded"),
        pytest.param("X", concept(A_X), CODE, False, id="no prefix match"),
        pytest.param("X-11", concept(A_X), CODE, False, id="whole value"),
        pytest.param("made up", concept(A_X), CODE, False, id="text is no code"),
        pytest.param("http://a.test|X-1", concept(A_X, B_Y), CODE, True, id="system|code"),
        pytest.param("http://b.test|X-1", concept(A_X, B_Y), CODE, False, id="both in the same Coding"),
        pytest.param("HTTP://a.test|X-1", concept(A_X), CODE, False, id="systems are exact"),
        pytest.param("http://a.test/|X-1", concept(A_X), CODE, False, id="no normalisation of systems"),
        pytest.param("|Z", concept(ALONE), CODE, True, id="|code without system"),
        pytest.param("|X-1", concept(A_X), CODE, False, id="|code is not any system"),
        pytest.param("http://b.test|", concept(A_X, B_Y), CODE, True, id="system|"),
        pytest.param("http://c.test|", concept(A_X, B_Y), CODE, False, id="another system|"),
        pytest.param("http://a.test|", {"system": "http://a.test"}, CODE, True, id="system| without code"),
        pytest.param("Y", B_Y, CODE, True, id="lone Coding"),
        pytest.param(
            "m-1", {"system": "urn:m", "value": "M-1"}, IDENTIFIER, False, id="identifiers are exact"
        ),
        pytest.param("M-1", {"system": "urn:m", "value": "M-1"}, IDENTIFIER, True, id="identifier"),
        pytest.param("urn:m|M-1", {"system": "urn:m", "value": "M-1"}, IDENTIFIER, True, id="system|value"),
        pytest.param("|M-1", {"value": "M-1"}, IDENTIFIER, True, id="|value"),
        pytest.param("|M-1", {"system": "", "value": "M-1"}, IDENTIFIER, True, id="an empty system is none"),
        pytest.param("final", "final", STATUS, True, id="code element"),
        pytest.param("Final", "final", STATUS, True, id="code element, folded"),
        pytest.param(f"{STATUS_SYSTEM}|final", "final", STATUS, True, id="implied system"),
        pytest.param(f"{STATUS_SYSTEM}|", "final", STATUS, True, id="implied system|"),
        pytest.param("|final", "final", STATUS, False, id="an implied system is a system"),
        pytest.param("http://a.test|final", "final", STATUS, False, id="another system than the implied"),
        pytest.param("true", True, ACTIVE, True, id="boolean true"),
        pytest.param("false", False, ACTIVE, True, id="boolean false"),
        pytest.param("false", True, ACTIVE, False, id="the other boolean"),
        pytest.param(r"a\|b", {"value": "a|b"}, IDENTIFIER, True, id="bar in a value"),
        pytest.param("a|b", {"value": "a|b"}, IDENTIFIER, False, id="a bar unescaped separates"),
        pytest.param("a|b", {"system": "a", "value": "b"}, IDENTIFIER, True, id="a bar separates"),
        pytest.param(r"a\|b", {"system": "a", "value": "b"}, IDENTIFIER, False, id="an escaped bar does not"),
        pytest.param(r"a\\", {"value": "a\\"}, IDENTIFIER, True, id="backslash in a value"),
        pytest.param(
            r"a\\|b", {"system": "a\\", "value": "b"}, IDENTIFIER, True, id="backslash ends a system"
        ),
        pytest.param("|http://a.test", {"value": "http://a.test"}, IDENTIFIER, True, id="a URI as value"),
    ],
)
def test_match(asked: str, stored: Any, parameter: Parameter, expected: bool) -> None:
    assert found(asked, stored, parameter) is expected


@pytest.mark.parametrize(
    ("asked", "parameter", "rule"),
    [
        pytest.param("a|b|c", CODE, "a token is `code`, `system|code`, `|code` or `system|`", id="two bars"),
        pytest.param("|", CODE, "a token needs a system or a code", id="only a bar"),
        pytest.param("a|b", ID, "this parameter has no code system: give the value alone", id="_id"),
        pytest.param(
            "|true", ACTIVE, "this parameter has no code system: give the value alone", id="boolean"
        ),
        *(
            pytest.param(asked, ACTIVE, "this parameter takes `true` or `false`", id=f"boolean {asked}")
            for asked in ("yes", "1", "tru")
        ),
        pytest.param(r"a\b", CODE, "a backslash escapes only `,` `|` `$` and itself", id="bad escape"),
    ],
)
def test_parse_refuses_with_the_rule(asked: str, parameter: Parameter, rule: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 -- the whole text is compared
        tokens.parse(asked, parameter)
    assert str(refused.value) == rule


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http://hl7.org/fhir/v2/0074", "http://terminology.hl7.org/CodeSystem/v2-0074"),
        ("http://hl7.org/fhir/v2/74", "http://terminology.hl7.org/CodeSystem/v2-0074"),
        ("urn:oid:2.16.840.1.113883.12.74", "http://terminology.hl7.org/CodeSystem/v2-0074"),
        ("http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
        (
            "http://hl7.org/fhir/observation-category",
            "http://terminology.hl7.org/CodeSystem/observation-category",
        ),
    ],
)
def test_an_older_name_of_a_code_system_is_found_by_its_r4_name_and_the_other_way(old: str, new: str) -> None:
    for asked, stored in product((old, new), repeat=2):
        assert found(f"{asked}|LAB", concept({"system": stored, "code": "LAB"}), CODE)
        assert found(f"{asked}|", concept({"system": stored, "code": "LAB"}), CODE)


@pytest.mark.parametrize(
    "system",
    [
        "http://loinc.org",
        "http://hl7.org/fhir/v2/",
        "http://hl7.org/fhir/v2/0074/2.1",
        "http://hl7.org/fhir/diagnostic-report-status",
        "urn:oid:2.16.840.1.113883.12.74.1",
        "urn:oid:2.16.840.1.113883.6.1",
        "",
    ],
)
def test_any_other_system_stays_as_it_is(system: str) -> None:
    assert canonical_system(system) == system


@pytest.mark.parametrize("row", [r for t in TYPES.values() for r in t.rows if r.system])
def test_the_implied_systems_of_the_table_have_one_name(row: Parameter) -> None:
    assert row.type is SearchType.TOKEN
    assert canonical_system(row.system or "") == row.system


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param(7, "p", id="number"),
        pytest.param(Number("7.0"), "p", id="decimal"),
        pytest.param(None, "p", id="null"),
        pytest.param(["x"], "p", id="list in a list"),
        pytest.param({"coding": ["x"]}, "p.coding", id="text for a Coding"),
        pytest.param({"coding": [{"code": 7}]}, "p.coding.code", id="number for a code"),
        pytest.param({"coding": [{"system": {}}]}, "p.coding.system", id="object for a system"),
        pytest.param({"value": 7}, "p.value", id="number for a value"),
        pytest.param({"value": "x", "system": []}, "p.system", id="list for a system"),
    ],
)
def test_index_refuses_a_wrong_shape_at_its_place(value: Any, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        tokens.index(value, CODE, "p")
    assert refused.value.path == path


# --- the rules in words, for any coding and any question


class Pair(NamedTuple):
    """A coding or identifier as it is stored."""

    system: str | None
    code: str | None


_PARTS = st.text(alphabet="aAbß|\\,$:", min_size=1, max_size=3)
_PAIRS = st.builds(Pair, st.none() | _PARTS, st.none() | _PARTS)


def written(part: str) -> str:
    """A part as a client escapes it."""
    return "".join(f"\\{letter}" if letter in ",|$\\" else letter for letter in part)


def in_words(system: str | None, code: str, stored: Pair, *, folded: bool) -> bool:
    """Section 3.2: `system` None asks for any, "" for none; `code` "" asks for any."""

    def same(left: str, right: str | None) -> bool:
        return right is not None and (left.casefold() == right.casefold() if folded else left == right)

    if system is None:
        return same(code, stored.code)
    if system == "":
        return stored.system is None and same(code, stored.code)
    return stored.system == system and (code == "" or same(code, stored.code))


@given(
    st.lists(_PAIRS, max_size=3),
    st.none() | st.just("") | _PARTS,
    st.just("") | _PARTS,
    st.booleans(),
    st.booleans(),
)
def test_spellings_meet_exactly_when_the_rules_say_so(
    pairs: list[Pair], system: str | None, code: str, folded: bool, ours: bool
) -> None:
    if pairs and ours:  # Chance alone hardly ever asks for what is stored.
        system = pairs[0].system if system is not None else None
        code = pairs[0].code or code
    if not code and not system:
        return
    parameter = CODE if folded else IDENTIFIER
    codings = [{k: v for k, v in (("system", p.system), ("code", p.code)) if v is not None} for p in pairs]
    asked = written(code) if system is None else f"{written(system)}|{written(code)}"
    expected = any(in_words(system, code, pair, folded=folded) for pair in pairs)
    assert found(asked, {"coding": codings}, parameter) is expected


def test_spellings_meet_by_the_rules_for_every_pair_of_a_small_domain() -> None:
    parts = ("a", "A", "b", "a|b", "a\\", "\\", "|")
    stored = [Pair(system, code) for system in (None, *parts) for code in (None, *parts)]
    asked = [(s, c) for s in (None, "", *parts) for c in ("", *parts) if s or c]
    for pair, (system, code), folded in product(stored, asked, (True, False)):
        coding = {k: v for k, v in (("system", pair.system), ("code", pair.code)) if v is not None}
        text = written(code) if system is None else f"{written(system)}|{written(code)}"
        parameter = CODE if folded else IDENTIFIER
        assert found(text, {"coding": [coding]}, parameter) is in_words(system, code, pair, folded=folded)
