"""Part of each resource that is asked for, as text → the query."""

from __future__ import annotations

import pytest

from store.search.criteria import Summary
from store.search.parsing.parse import parse
from tests.support.reports import context, query_of, refusal


@pytest.mark.parametrize("text", ["true", "text", "data", "false"])
def test_summary(text: str) -> None:
    query = query_of(("_summary", text))
    assert (query.summary, query.count) == (Summary(text), 50)


@pytest.mark.parametrize("pairs", [[("_summary", "count")], [("_summary", "count"), ("_count", "7")]])
def test_a_summary_of_the_count_shows_no_match(pairs: list[tuple[str, str]]) -> None:
    assert query_of(*pairs).count == 0


def test_without_a_word_everything_is_shown() -> None:
    assert (query_of().summary, query_of().elements) == (Summary.FALSE, ())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("status", ("status",)),
        ("status,code", ("status", "code")),
        (",status,,code,", ("status", "code")),
        ("code,code", ("code",)),
        ("DiagnosticReport.status,issued", ("status", "issued")),
        ("effective,effectiveDateTime", ("effective", "effectiveDateTime")),
        ("effective[x]", ("effective",)),
    ],
)
def test_elements(text: str, names: tuple[str, ...]) -> None:
    assert query_of(("_elements", text)).elements == names


def test_an_element_that_the_type_does_not_have_is_named() -> None:
    """A typo that is passed over in silence reads like a report without conclusion."""
    asked = [("_elements", "status,DiagnosticReport.conclusoin,effective[x]")]
    found = parse("DiagnosticReport", asked, context(strict=False))
    assert found.query.elements == ("status", "effective")
    assert found.pairs == (("_elements", "status,effective[x]"),)
    [issue] = found.ignored
    assert (issue.code, issue.severity) == ("not-supported", "information")
    assert "did you mean `conclusion`?" in issue.text
    strict = refusal(lambda: parse("DiagnosticReport", asked, context(strict=True)))
    assert [one.expression for one in strict.issues] == [("_elements",)]
    assert query_of(("_elements", "statsu"), strict=False).elements == ()
    for name in ("id", "meta", "text", "contained", "extension", "effectiveDateTime", "resourceType"):
        assert query_of(("_elements", name)).elements == (name,)


def test_elements_add_up() -> None:
    assert query_of(("_elements", "status"), ("_elements", "code,status")).elements == ("status", "code")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("pairs", "name", "rule"),
    [
        pytest.param([("_summary", "sentinel")], "_summary", "must be `true`, `text`", id="unknown"),
        pytest.param([("_summary", "True")], "_summary", "must be `true`, `text`", id="case"),
        pytest.param([("_summary", "true,text")], "_summary", "must be `true`, `text`", id="several"),
        pytest.param(
            [("_summary", "true"), ("_summary", "data")], "_summary", "one way only", id="two of them"
        ),
        pytest.param([("_elements", "subject.reference")], "_elements", "of root elements", id="nested"),
        pytest.param([("_elements", "sentinel-1")], "_elements", "of root elements", id="not a name"),
        pytest.param([("_elements", "*")], "_elements", "of root elements", id="star"),
        pytest.param(
            [("_elements", "Patient.name")], "_elements", "are of type `DiagnosticReport`", id="other type"
        ),
        pytest.param(
            [("_elements", "code"), ("_summary", "true")], "_elements", "combined with `_summary`", id="both"
        ),
        pytest.param(
            [("_summary", "text"), ("_include", "DiagnosticReport:subject")],
            "_summary",
            "combined with `_include`",
            id="text with an include",
        ),
        pytest.param(
            [("_summary", "text"), ("_revinclude", "Provenance:target")],
            "_summary",
            "combined with `_include`",
            id="text with a reverse include",
        ),
    ],
)
def test_refusals(pairs: list[tuple[str, str]], name: str, rule: str, strict: bool) -> None:
    [issue] = refusal(lambda: query_of(*pairs, strict=strict)).issues
    assert (issue.code, issue.expression) == ("invalid", (name,))
    assert issue.text.startswith(f"`{name}`: ")
    assert rule in issue.text
    assert "sentinel" not in issue.text


@pytest.mark.parametrize(
    "pairs",
    [
        [("_summary", "false"), ("_elements", "code")],
        [("_summary", "count"), ("_elements", "code")],
        [("_summary", "true"), ("_summary", "true")],
        [("_summary", "true"), ("_include", "DiagnosticReport:subject")],
        [("_summary", "data"), ("_revinclude", "Provenance:target")],
    ],
)
def test_what_goes_together(pairs: list[tuple[str, str]]) -> None:
    query_of(*pairs)


@pytest.mark.parametrize("name", ["_summary", "_elements"])
def test_an_empty_parameter_asks_nothing(name: str) -> None:
    assert query_of((name, "")) == query_of()
