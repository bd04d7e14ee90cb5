"""Parameters as text → the query, or every reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Category, ServiceError
from store.fhir import instants
from store.search.criteria import (
    AnyOf,
    Chain,
    Clause,
    Dates,
    Missing,
    References,
    SearchQuery,
    SortKey,
    Tokens,
    Total,
)
from store.search.parameters import TYPES
from store.search.parsing.context import SearchLimits
from store.search.parsing.parse import parse
from store.search.parsing.patient_scope import bounded_by_patient
from store.search.values.dates import DateValue
from tests.support.reports import BASE, attempt, context, query_of, refusal, said

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT = TYPES["DiagnosticReport"].by_name
PATIENT = TYPES["Patient"].by_name
DR = "DiagnosticReport"


def date(text: str, prefix: str = "eq") -> DateValue:
    return DateValue(prefix, instants.parse(text))


def chain(name: str, type: str, inner: Clause, *identifiers: str) -> Chain:
    return Chain(REPORT[name], ((type, inner),), identifiers)


@pytest.mark.parametrize(
    ("name", "text", "clause"),
    [
        pytest.param("code", "A", Tokens(REPORT["code"], ("a",)), id="token"),
        pytest.param("code", "a,b|c", Tokens(REPORT["code"], ("a", "b|c")), id="or"),
        pytest.param("code", ",a,,b,", Tokens(REPORT["code"], ("a", "b")), id="empty members"),
        pytest.param("code", r"a\,b", Tokens(REPORT["code"], ("a,b",)), id="escaped comma"),
        pytest.param("code:not", "a", Tokens(REPORT["code"], ("a",), negated=True), id="not"),
        pytest.param("_id", "r-1", Tokens(REPORT["_id"], ("r-1",)), id="_id"),
        pytest.param("date", "2020", Dates(REPORT["date"], (date("2020"),)), id="date"),
        pytest.param(
            "date",
            "ge2020,lt2019",
            Dates(REPORT["date"], (date("2020", "ge"), date("2019", "lt"))),
            id="a prefix belongs to its alternative",
        ),
        pytest.param(
            "_lastUpdated", "gt2020", Dates(REPORT["_lastUpdated"], (date("2020", "gt"),)), id="poll"
        ),
        pytest.param("patient", "p", References(REPORT["patient"], ("Patient/p",)), id="bare id"),
        pytest.param(
            "patient", f"{BASE}/Patient/p", References(REPORT["patient"], ("Patient/p",)), id="our URL"
        ),
        pytest.param("subject:Group", "g", References(REPORT["subject"], ("Group/g",)), id="type modifier"),
        pytest.param(
            "patient",
            "Patient/p,p",
            References(REPORT["patient"], ("Patient/p",)),
            id="the same twice is once",
        ),
        pytest.param(
            "subject:identifier",
            "urn:m|V",
            Tokens(REPORT["subject"].logical, ("urn:m|V",)),
            id="identifier modifier",
        ),
        pytest.param("code:missing", "true", Missing(REPORT["code"], missing=True), id="missing"),
        pytest.param("subject:missing", "false", Missing(REPORT["subject"], missing=False), id="not missing"),
        pytest.param(
            "patient.identifier",
            "urn:m|V",
            chain("patient", "Patient", Tokens(PATIENT["identifier"], ("urn:m|V",)), "urn:m|V"),
            id="chain to an identifier",
        ),
        pytest.param(
            "subject:Patient.identifier",
            "V",
            chain("patient", "Patient", Tokens(PATIENT["identifier"], ("V",)), "V"),
            id="a subject that is a patient",
        ),
        pytest.param(
            "patient.gender",
            "Male",
            chain("patient", "Patient", Tokens(PATIENT["gender"], ("male",))),
            id="chain to something else",
        ),
        pytest.param(
            "patient.gender:missing",
            "true",
            chain("patient", "Patient", Missing(PATIENT["gender"], missing=True)),
            id="a modifier at the end of a chain",
        ),
        pytest.param(
            "patient._id", "p", chain("patient", "Patient", Tokens(PATIENT["_id"], ("p",))), id="chain to _id"
        ),
        pytest.param(
            "patient.organization.identifier",
            "O",
            chain(
                "patient",
                "Patient",
                Chain(
                    PATIENT["organization"],
                    (("Organization", Tokens(TYPES["Organization"].by_name["identifier"], ("O",))),),
                    ("O",),
                ),
            ),
            id="two references",
        ),
        pytest.param("context", "e", References(REPORT["encounter"], ("Encounter/e",)), id="alias"),
    ],
)
def test_clause(name: str, text: str, clause: Clause) -> None:
    understood = parse(DR, [(name, text)], context(strict=True))
    assert understood.query.clauses == (clause,)
    assert understood.pairs == ((name, text),)
    assert understood.ignored == ()


def test_an_untyped_chain_is_tried_on_all_targets_that_define_it() -> None:
    [clause] = query_of(("subject.identifier", "V")).clauses
    assert isinstance(clause, Chain)
    assert [target for target, _ in clause.inner] == ["Patient", "Group", "Device", "Location"]
    [typed] = query_of(("subject.birthdate", "2020")).clauses
    assert isinstance(typed, Chain)
    assert [target for target, _ in typed.inner] == ["Patient"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("based-on.based-on:ServiceRequest.identifier", "V", id="the next step's type"),
        pytest.param("based-on.based-on.requisition", "V", id="the next step's parameter"),
        pytest.param("based-on.subject:Location", "l1", id="the last step's type"),
    ],
)
def test_an_untyped_chain_leaves_out_the_targets_that_its_rest_does_not_fit(name: str, text: str) -> None:
    [clause] = query_of((name, text)).clauses
    assert isinstance(clause, Chain)
    [typed] = query_of((name.replace("based-on.", "based-on:ServiceRequest.", 1), text)).clauses
    assert isinstance(typed, Chain)
    assert clause.inner == typed.inner


def test_a_rest_that_fits_no_target_is_refused_and_so_is_a_value_that_is_wrong_for_one() -> None:
    [issue] = refusal(lambda: parse(DR, [("based-on.based-on:Patient.name", "x")], context())).issues
    assert "this modifier is not supported here" in issue.text
    [issue] = refusal(lambda: parse(DR, [("subject.type", "a|b|c")], context())).issues
    assert "a token is" in issue.text
    [issue] = parse(DR, [("based-on.based-on.none", "x")], context()).ignored
    assert issue.code == "not-supported"


def test_order_is_any_of_its_members() -> None:
    [clause] = query_of(("order", "urn:o|1")).clauses
    assert isinstance(clause, AnyOf)
    based_on, chained, own = clause.clauses
    assert based_on == References(REPORT["based-on"], ("urn:o|1",))
    assert isinstance(chained, Chain)
    assert chained.identifiers == ("urn:o|1",)
    assert own == Tokens(REPORT["identifier"], ("urn:o|1",))


def test_repeating_a_parameter_is_and() -> None:
    assert query_of(("category", "a"), ("category", "b")).clauses == (
        Tokens(REPORT["category"], ("a",)),
        Tokens(REPORT["category"], ("b",)),
    )


@pytest.mark.parametrize("text", ["", ",", ",,,"])
@pytest.mark.parametrize("name", ["status", "code:not", "code:missing", "_count", "_sort", "unknown"])
def test_an_empty_parameter_is_ignored(name: str, text: str) -> None:
    understood = parse(DR, [(name, text)], context(strict=True))
    assert understood.query == SearchQuery(DR)
    assert understood.pairs == ()


@pytest.mark.parametrize(
    ("name", "text", "rule", "code"),
    [
        pytest.param("date", "20", "`date`: not a FHIR date", "invalid", id="date"),
        pytest.param("date", "2020-02-30", "`date`: no such date in the calendar", "invalid", id="calendar"),
        pytest.param("date", "xx2020", "`date`: the prefix must be one of eq,", "invalid", id="prefix"),
        pytest.param(
            "date",
            "2020-01-01T00:00:00 02:00",
            "`date`: a `+` in a URL",
            "invalid",
            id="raw plus",
        ),
        pytest.param(
            "date:exact", "2020", "`date` takes `:missing`", "not-supported", id="modifier of a date"
        ),
        pytest.param("code", "a|b|c", "`code`: a token is `code`, `system|code`", "invalid", id="two bars"),
        pytest.param("code", "|", "`code`: a token needs a system or a code", "invalid", id="a bar"),
        pytest.param("code", "a\\", "`code`: a backslash escapes only", "invalid", id="backslash"),
        pytest.param("_id", "a|b", "`_id`: this parameter has no code system", "invalid", id="_id"),
        pytest.param("code:in", "x", "`code` takes `:not`, `:text`, `:missing`", "not-supported", id="in"),
        pytest.param(
            "code:not-in", "x", "`code` takes `:not`, `:text`, `:missing`", "not-supported", id="not-in"
        ),
        pytest.param(
            "code:above", "x", "`code` takes `:not`, `:text`, `:missing`", "not-supported", id="above"
        ),
        pytest.param(
            "code:below", "x", "`code` takes `:not`, `:text`, `:missing`", "not-supported", id="below"
        ),
        pytest.param("code:text", "-", "has no letter or digit", "invalid", id="text of nothing"),
        pytest.param("code:of-type", "a|b|c", "`code` takes `:not`", "not-supported", id="of-type of a code"),
        pytest.param("identifier:of-type", "a|b", "all three", "invalid", id="of-type of two"),
        pytest.param("_has:Observation:patient", "x", "`_has` is written", "invalid", id="_has cut off"),
        pytest.param("_has:Patient:link:name", "x", "`_has` names no", "invalid", id="_has leads elsewhere"),
        pytest.param("patient.family:text", "x", "`family` takes", "not-supported", id="text of a string"),
        pytest.param("result.value-quantity", "5|mg", "a quantity is", "invalid", id="quantity of two parts"),
        pytest.param("code:missing", "yes", "`:missing` takes `true` or `false`", "invalid", id="missing"),
        pytest.param("code:missing", "TRUE", "`:missing` takes `true` or `false`", "invalid", id="TRUE"),
        pytest.param("subject:Patient", "Group/x", "names another type", "invalid", id="type modifier"),
        pytest.param("subject:Encounter", "x", "`subject` takes", "not-supported", id="no target"),
        pytest.param(
            "subject:Encounter.identifier", "x", "`subject` takes", "not-supported", id="no target, chain"
        ),
        pytest.param(
            "subject:identifier.x", "x", "`subject` takes", "not-supported", id="chain behind identifier"
        ),
        pytest.param("code.x", "x", "`code` is not a reference", "invalid", id="chain through a token"),
        pytest.param("order:not", "x", "`based-on` takes", "not-supported", id="modifier of order"),
        pytest.param("_sort:desc", "date", "`_sort` takes none", "not-supported", id="modifier of a sort"),
        pytest.param("_elements:exclude", "id", "`_elements` takes none", "not-supported", id="exclude"),
        pytest.param("_has", "x", "`_has` is written", "invalid", id="_has of nothing"),
        pytest.param("order", "a|b|c", "`order`: a token is", "invalid", id="order"),
        pytest.param(
            "patient.birthdate", "20", "`patient.birthdate`: not a FHIR date", "invalid", id="in a chain"
        ),
        pytest.param("_count", "abc", "must be a whole number, 0 or more", "invalid", id="count"),
        pytest.param("_count", "-1", "must be a whole number, 0 or more", "invalid", id="negative count"),
        pytest.param("_count", "1.5", "must be a whole number, 0 or more", "invalid", id="half a count"),
        pytest.param("_count", "٣", "must be a whole number, 0 or more", "invalid", id="count not in ASCII"),
        pytest.param("_total", "all", "must be `none`, `estimate` or `accurate`", "invalid", id="total"),
        pytest.param("_sort", "a\\", "`_sort`", "not-supported", id="backslash in a sort"),
        pytest.param("_sort", "order", "`_sort` takes", "not-supported", id="sort"),
        pytest.param("unknown", "x", "has no search parameter `unknown` here", "not-supported", id="unknown"),
        pytest.param(
            "Code", "x", "has no search parameter `Code` here", "not-supported", id="names have case"
        ),
        pytest.param(
            "patient.foo", "x", "no target of `patient` has", "not-supported", id="unknown in a chain"
        ),
        pytest.param(
            "foo.bar", "x", "has no search parameter `foo` here", "not-supported", id="unknown before"
        ),
        pytest.param("patient.", "x", "a step of the chain is empty", "invalid", id="dot at the end"),
        pytest.param("patient..name", "x", "a step of the chain is empty", "invalid", id="two dots"),
        pytest.param("patient.:exact", "x", "a step of the chain is empty", "invalid", id="dot, colon"),
        pytest.param("subject:.name", "x", "a type is missing behind the colon", "invalid", id="colon, dot"),
        pytest.param(
            "result.subject:.name", "x", "a type is missing", "invalid", id="colon, dot, in a chain"
        ),
    ],
)
def test_refusal(name: str, text: str, rule: str, code: str) -> None:
    error = refusal(lambda: parse(DR, [(name, text)], context(strict=True)))
    assert error.category is Category.INCORRECT
    [issue] = error.issues
    assert rule in issue.text
    assert (issue.code, issue.expression, issue.severity) == (code, (name,), "error")


def test_all_issues_are_collected() -> None:
    pairs = [("date", "soon"), ("code", "|"), ("status", "final"), ("unknown", "x")]
    error = refusal(lambda: parse(DR, pairs, context(strict=True)))
    assert [issue.expression for issue in error.issues] == [("date",), ("code",), ("unknown",)]


@pytest.mark.parametrize("name", ["unknown", "unknown:not", "patient.unknown", "_sort"])
def test_what_is_unknown_is_left_out_under_lenient_handling(name: str) -> None:
    understood = parse(DR, [(name, "x"), ("code", "a")], context())
    assert understood.query.clauses == (Tokens(REPORT["code"], ("a",)),)
    assert understood.pairs == (("code", "a"),)
    [issue] = understood.ignored
    assert (issue.severity, issue.code, issue.expression) == ("information", "not-supported", (name,))


@pytest.mark.parametrize("name", ["code:in", "date:not", "patient:exact", "subject:Encounter", "_id:in"])
def test_an_unsupported_modifier_is_refused_under_lenient_handling_too(name: str) -> None:
    [issue] = refusal(lambda: parse(DR, [(name, "x")], context())).issues
    assert issue.code == "not-supported"


@pytest.mark.parametrize("name", ["_format", "_pretty"])
def test_what_does_not_concern_matching_is_silent(name: str) -> None:
    understood = parse(DR, [(name, "x")], context(strict=True))
    assert (understood.query, understood.pairs) == (SearchQuery(DR), ())


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("1", 1), ("1000", 1000), ("1001", 1000), ("999999999", 1000), ("007", 7)]
)
def test_count(text: str, count: int) -> None:
    assert query_of(("_count", text)).count == count


def test_count_has_a_default() -> None:
    assert query_of().count == 50


@pytest.mark.parametrize(
    ("text", "total"), [("none", Total.NONE), ("estimate", Total.BOUNDED), ("accurate", Total.ACCURATE)]
)
def test_total(text: str, total: Total) -> None:
    assert query_of(("_total", text)).total is total


def test_sort() -> None:
    assert query_of(("_sort", "-date,_id")).sort == (
        SortKey(REPORT["date"], descending=True),
        SortKey(REPORT["_id"], descending=False),
    )


def repeated(count: int) -> Sequence[tuple[str, str]]:
    return [("code", "a")] * count


@pytest.mark.parametrize(
    ("pairs", "limits", "expected"),
    [
        pytest.param(repeated(3), SearchLimits(clauses_max=3), None, id="parameters at the limit"),
        pytest.param(
            repeated(4), SearchLimits(clauses_max=3), "at most 3 parameters", id="parameters past it"
        ),
        pytest.param([("code", "a,b,c")], SearchLimits(values_max=3), None, id="values at the limit"),
        pytest.param(
            [("code", "a,b,c,d")], SearchLimits(values_max=3), "at most 3 values", id="values past it"
        ),
        pytest.param(
            [("code", ",a,,b,c,")], SearchLimits(values_max=3), None, id="empty members do not count"
        ),
        pytest.param([("code", ",".join("a" * 300))], SearchLimits(), None, id="300 values"),
        pytest.param(
            [("code", ",".join("a" * 1_000))], SearchLimits(), "at most 300 values", id="a thousand values"
        ),
    ],
)
def test_limits(pairs: list[tuple[str, str]], limits: SearchLimits, expected: str | None) -> None:
    if expected is None:
        assert parse(DR, pairs, context(limits=limits)).query.clauses
    else:
        [issue] = refusal(lambda: parse(DR, pairs, context(limits=limits))).issues
        assert expected in issue.text
        assert issue.code == "too-costly"


def test_a_chain_follows_three_references() -> None:
    at_limit = "result.encounter.patient.gender"
    assert parse(DR, [(at_limit, "male")], context(strict=True)).query.clauses
    [issue] = refusal(
        lambda: parse(DR, [("result.encounter.patient.organization.identifier", "x")], context())
    ).issues
    assert "at most 3 references" in issue.text
    assert issue.code == "too-costly"


# --- whatever the text: a query or a ServiceError, and no value in what it says

_NAMES = st.sampled_from(
    [
        name + more
        for type in ("DiagnosticReport", "Patient")
        for name in TYPES[type].by_name
        for more in (
            "",
            ":not",
            ":missing",
            ":identifier",
            ":Patient",
            ":in",
            ".identifier",
            ".birthdate",
            ".x",
        )
    ]
    + ["_count", "_sort", "_total", "_has:Observation:patient:code", "order", "", ".", ":", "."]
)
_VALUES = st.text(alphabet="ab2019-:T+Z.|\\,$/ \n", max_size=20) | st.text(max_size=20)
_TYPES = st.sampled_from(["DiagnosticReport", "Observation", "Patient", "Provenance", "Basic"])


@given(_TYPES, st.lists(st.tuples(_NAMES | st.text(max_size=20), _VALUES), max_size=4), st.booleans())
def test_any_text_is_understood_or_refused(type: str, pairs: list[tuple[str, str]], strict: bool) -> None:
    found = attempt(lambda: parse(type, pairs, context(strict=strict)))
    if isinstance(found, ServiceError):
        assert found.category is Category.INCORRECT
        assert found.issues
    else:
        assert set(found.pairs) <= set(pairs)
        assert not (strict and found.ignored)
        assert isinstance(bounded_by_patient(found.query), bool)


SENTINEL = "Zq7Sentinel"


@given(_TYPES, _NAMES, _VALUES, _VALUES, st.booleans())
def test_no_issue_repeats_a_value(type: str, name: str, before: str, after: str, strict: bool) -> None:
    pairs = [(name, before + SENTINEL + after)]
    found = attempt(lambda: parse(type, pairs, context(strict=strict)))
    if isinstance(found, ServiceError):
        assert SENTINEL not in said(found)
        assert SENTINEL not in str(found)
    else:
        assert not any(SENTINEL in issue.text for issue in found.ignored)


@pytest.mark.parametrize(
    "name", [f"{SENTINEL} Doe", f"urn:oid:1|{SENTINEL}", f"patient={SENTINEL}", f"{SENTINEL}é"]
)
def test_a_value_in_the_place_of_a_name_is_not_repeated(name: str) -> None:
    understood = parse(DR, [(name, "x")], context())
    [issue] = understood.ignored
    assert SENTINEL not in issue.text + "".join(issue.expression)


# --- the patient scope rule, `DECISIONS.md#patient-scope`


@pytest.mark.parametrize(
    ("type", "name", "text", "bounded"),
    [
        pytest.param(DR, "patient", "p", True, id="patient"),
        pytest.param(DR, "subject", "Patient/p", True, id="subject"),
        pytest.param(DR, "subject:Patient", "p", True, id="typed subject"),
        pytest.param(DR, "patient.identifier", "urn:m|1", True, id="patient.identifier"),
        pytest.param(DR, "subject.identifier", "urn:m|1", True, id="subject.identifier"),
        pytest.param(DR, "subject:Patient.identifier", "urn:m|1", True, id="subject:Patient.identifier"),
        pytest.param(DR, "patient:identifier", "urn:m|1", True, id="patient:identifier"),
        pytest.param(DR, "subject:identifier", "urn:m|1", True, id="subject:identifier"),
        pytest.param(DR, "subject", "p", True, id="a bare id"),
        pytest.param(DR, "subject", "Patient/p/_history/1", True, id="a version of a patient"),
        pytest.param(DR, "subject", "https://elsewhere.example/Patient/p", True, id="a foreign patient"),
        pytest.param(DR, "subject", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", True, id="a urn"),
        pytest.param(DR, "subject", "Patient/p,Group/g", True, id="a patient or a group"),
        pytest.param(DR, "subject", "Location/ward", False, id="a ward"),
        pytest.param(DR, "subject", "Group/g,Device/d", False, id="a group or a device"),
        pytest.param(DR, "subject:Group", "g", False, id="a group by the modifier"),
        pytest.param(DR, "subject", "https://elsewhere.example/Location/1", False, id="a foreign ward"),
        pytest.param(DR, "subject:Location.identifier", "urn:l|1", False, id="a ward by its identifier"),
        pytest.param(DR, "patient.identifier", r"a\|", True, id="a value that ends with a bar"),
        pytest.param(DR, "_id", "r", True, id="_id"),
        pytest.param(DR, "_id:not", "r", False, id="any other id"),
        pytest.param(DR, "patient.gender", "male", False, id="half of all"),
        pytest.param(DR, "patient.identifier:not", "urn:m|1", False, id="all but one"),
        pytest.param(DR, "patient:missing", "false", False, id="any patient"),
        pytest.param(DR, "patient.identifier", "urn:m|", False, id="everyone with a number of that kind"),
        pytest.param(DR, "subject:identifier", "urn:m|", False, id="the same in the reference"),
        pytest.param(DR, "patient.identifier", "urn:m|1,urn:m|", False, id="one, or everyone"),
        pytest.param(DR, "code", "a", False, id="code"),
        pytest.param(DR, "order", "urn:o|1", False, id="order"),
        pytest.param(DR, "identifier", "urn:o|1", False, id="identifier of a report"),
        pytest.param("Provenance", "target", "DiagnosticReport/r", True, id="target of a Provenance"),
        pytest.param(
            "Provenance", "target:DiagnosticReport.identifier", "urn:r|1", True, id="target by its identifier"
        ),
        pytest.param("Patient", "identifier", "urn:m|1", True, id="identifier of a patient"),
        pytest.param("Patient", "identifier:not", "urn:m|1", False, id="all patients but one"),
        pytest.param("Patient", "identifier", "urn:m|", False, id="all patients with a number"),
        pytest.param("Patient", "birthdate", "2020", False, id="patients by date"),
        pytest.param("Practitioner", "identifier", "urn:n|1", True, id="a type that is not about patients"),
    ],
)
def test_bounded_by_patient(type: str, name: str, text: str, bounded: bool) -> None:
    assert bounded_by_patient(query_of((name, text), type=type)) is bounded


def test_a_search_for_everything_is_not_bounded() -> None:
    assert not bounded_by_patient(query_of())
    assert not bounded_by_patient(query_of(type="Patient"))


@pytest.mark.parametrize("type", ["AllergyIntolerance", "Immunization", "Person", "Provenance", "Task"])
def test_a_type_about_patients_is_not_open_for_want_of_a_parameter(type: str) -> None:
    assert not bounded_by_patient(query_of(type=type))


def test_a_provenance_is_bounded_by_the_patient_it_is_about() -> None:
    assert bounded_by_patient(query_of(("patient", "p1"), type="Provenance"))
    assert not bounded_by_patient(query_of(("agent", "Device/1"), type="Provenance"))


@pytest.mark.parametrize(
    ("type", "name"),
    [("Provenance", "target"), ("Observation", "focus"), ("Task", "subject"), ("List", "item")],
)
def test_a_chain_through_a_reference_to_anything_names_the_type(type: str, name: str) -> None:
    error = refusal(lambda: query_of((f"{name}.identifier", "1"), type=type))
    assert [issue.code for issue in error.issues] == ["too-costly"]
    assert f"`{name}:Type.…`" in said(error)
    assert query_of((f"{name}:Patient.identifier", "1"), type=type).clauses


@pytest.mark.parametrize("name", ["_query", "_filter", "_list", "_contained", "code:", "patient.identifier:"])
def test_what_must_not_be_left_out_is_refused(name: str) -> None:
    error = refusal(lambda: query_of(("patient", "p1"), (name, "x")))
    assert [issue.expression for issue in error.issues] == [(name,)]


def test_that_contained_resources_are_no_matches_may_be_said() -> None:
    assert query_of(("patient", "p1"), ("_contained", "false")) == query_of(("patient", "p1"))
