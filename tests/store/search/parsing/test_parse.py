"""Parameters as text → the query, or every reason why not."""

from __future__ import annotations

import pytest

from store.errors import Category
from store.search.criteria import (
    AnyOf,
    Chain,
    Clause,
    Dates,
    Missing,
    References,
    SearchQuery,
    Tokens,
)
from store.search.parameters import TYPES
from store.search.parsing.parse import parse
from tests.store.search.parsing.clauses import DR, REPORT, date
from tests.support.reports import BASE, context, query_of, refusal

PATIENT = TYPES["Patient"].by_name


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
    "name", ["code:2823-3", "status:in", "subject:Practitioner", "date:2026", "_sort:desc"]
)
def test_a_modifier_that_is_none_is_refused_without_a_value_too(name: str) -> None:
    """A typo: `code:2823-3` for `code=2823-3` would be every code."""
    error = refusal(lambda: parse(DR, [("patient", "p"), (name, "")], context()))
    assert [issue.code for issue in error.issues] == ["not-supported"]


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
