"""`_include` and `_revinclude` as text → what a page brings along, or the reason why not."""

from __future__ import annotations

import pytest

from store.errors import Category
from store.search.criteria import Include
from store.search.parameters import TYPES, ResourceType
from store.search.parsing.includes import INCLUDES_MAX, references_of, reversible, reversible_of
from store.search.parsing.parse import parse
from store.search.parsing.patient_scope import bounded
from tests.support.reports import context, query_of, refusal, said

DR = "DiagnosticReport"
REPORT = TYPES[DR].by_name
OBSERVATION = TYPES["Observation"].by_name
TARGET = TYPES["Provenance"].by_name["target"]
SENTINEL = "sentinel-7391"


@pytest.mark.parametrize(
    ("name", "text", "include"),
    [
        pytest.param("_include", "DiagnosticReport:result", Include(DR, REPORT["result"]), id="forward"),
        pytest.param("_include", "DiagnosticReport:context", Include(DR, REPORT["encounter"]), id="alias"),
        pytest.param(
            "_include",
            "DiagnosticReport:subject:Patient",
            Include(DR, REPORT["subject"], "Patient"),
            id="with a target",
        ),
        pytest.param("_include", "*", Include("*"), id="all"),
        pytest.param("_include", "DiagnosticReport:*", Include(DR), id="all of a type"),
        pytest.param(
            "_include", "DiagnosticReport:*:Patient", Include(DR, None, "Patient"), id="all to a type"
        ),
        pytest.param(
            "_include:iterate",
            "Observation:specimen",
            Include("Observation", OBSERVATION["specimen"], iterate=True),
            id="iterate",
        ),
        pytest.param(
            "_include:recurse",
            "Observation:specimen",
            Include("Observation", OBSERVATION["specimen"], iterate=True),
            id="recurse",
        ),
        pytest.param("_include:iterate", "*", Include("*", iterate=True), id="iterate all"),
        pytest.param(
            "_revinclude", "Provenance:target", Include("Provenance", TARGET, reverse=True), id="reverse"
        ),
        pytest.param(
            "_revinclude:iterate",
            "Provenance:target:Observation",
            Include("Provenance", TARGET, "Observation", reverse=True, iterate=True),
            id="reverse, iterate, with a target",
        ),
        pytest.param(
            "_revinclude",
            "DiagnosticReport:result",
            Include(DR, REPORT["result"], reverse=True),
            id="reverse within the patient",
        ),
    ],
)
def test_what_is_included(name: str, text: str, include: Include) -> None:
    understood = parse(DR, [("patient", "p"), (name, text)], context(strict=True))
    assert understood.query.includes == (include,)
    assert understood.pairs == (("patient", "p"), (name, text))


def test_several_are_kept_in_order_and_the_same_once() -> None:
    pairs = [("_include", f"DiagnosticReport:{one}") for one in ("result", "patient", "result")]
    assert query_of(*pairs).includes == (Include(DR, REPORT["result"]), Include(DR, REPORT["patient"]))


def test_an_empty_one_asks_for_nothing() -> None:
    assert query_of(("_include", "")).includes == ()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("_include", "Nothing:result", "source type", id="source type"),
        pytest.param("_include", "DiagnosticReport:nothing", "`based-on`", id="parameter"),
        pytest.param("_include", "DiagnosticReport:code", "`based-on`", id="not a reference"),
        pytest.param("_include", "DiagnosticReport:order", "`based-on`", id="not one reference"),
        pytest.param("_include", "DiagnosticReport:result:Patient", "target type", id="not its target"),
        pytest.param("_include", "DiagnosticReport:*:Nothing", "target type", id="no such target"),
        pytest.param("_revinclude", "Provenance:nothing", "`target`", id="reverse parameter"),
        pytest.param("_revinclude", "Patient:nothing", "none", id="nothing leads back"),
    ],
)
def test_what_is_unknown_is_dropped_or_refused_under_strict(name: str, text: str, words: str) -> None:
    understood = parse(DR, [(name, text), ("patient", "p")], context())
    assert understood.query.includes == ()
    assert understood.pairs == (("patient", "p"),)
    [issue] = understood.ignored
    assert (issue.severity, issue.code, issue.expression) == ("information", "not-supported", (name,))
    assert words in issue.text
    error = refusal(lambda: parse(DR, [(name, text)], context(strict=True)))
    assert (error.category, error.issues[0].code) == (Category.INCORRECT, "not-supported")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("_include", SENTINEL, "`Source:parameter`", id="no colon"),
        pytest.param("_include", f"DiagnosticReport:{SENTINEL}:", "`Source:parameter`", id="empty target"),
        pytest.param("_include", f"DiagnosticReport:result:Observation:{SENTINEL}", "`Source", id="4 parts"),
        pytest.param("_include", "DiagnosticReport:", "`Source:parameter`", id="no parameter"),
        pytest.param("_include", f"{SENTINEL}:result", "`Source:parameter`", id="not a type's name"),
        pytest.param("_include", "DiagnosticReport:result,DiagnosticReport:patient", "comma", id="comma"),
        pytest.param("_include", "*,*", "comma", id="comma among stars"),
        pytest.param("_include:foo", "DiagnosticReport:result", "`:iterate`", id="modifier"),
        pytest.param("_include:", "DiagnosticReport:result", "`:iterate`", id="empty modifier"),
        pytest.param("_revinclude", "*", "`Source:parameter`", id="everything that refers"),
        pytest.param("_revinclude", "Provenance:*", "`target`", id="reverse star"),
        pytest.param("_revinclude", "DiagnosticReport:performer", "`result`", id="no index leads back"),
    ],
)
def test_what_is_refused_always(name: str, text: str, words: str) -> None:
    error = refusal(lambda: parse(DR, [(name, text)], context()))
    assert error.category is Category.INCORRECT
    assert words in said(error)
    assert name.partition(":")[0] in said(error)
    assert SENTINEL not in said(error)


def test_there_is_a_limit() -> None:
    texts = [f"{name}:patient" for name, row in TYPES.items() if "patient" in row.by_name]
    texts += [f"{row.name}:{one.name}" for row in TYPES.values() for one in references_of(row)]
    pairs = [("_include", text) for text in dict.fromkeys(texts)][: INCLUDES_MAX + 1]
    assert len(query_of(*pairs[:INCLUDES_MAX]).includes) == INCLUDES_MAX
    error = refusal(lambda: query_of(*pairs))
    assert [(issue.code, issue.expression) for issue in error.issues] == [("too-costly", ("_include",))]


def test_an_include_names_no_patient() -> None:
    pairs = [("_include", "DiagnosticReport:patient"), ("_revinclude", "Provenance:target")]
    assert bounded(query_of(*pairs)) is None


@pytest.mark.parametrize("row", [row for row in TYPES.values() if row.parameters], ids=lambda row: row.name)
def test_each_reference_can_be_included_and_those_offered_backwards(row: ResourceType) -> None:
    for one in references_of(row):
        text = f"{row.name}:{one.name}"
        assert query_of(("_include", text)).includes == (Include(row.name, one),)
    for one in reversible_of(row):
        text = f"{row.name}:{one.name}"
        assert query_of(("_revinclude", text)).includes == (Include(row.name, one, reverse=True),)
        assert one.keyed or "patient" in row.by_name


def test_from_a_directory_no_include_leads_to_reports() -> None:
    for name in ("performer", "results-interpreter"):
        assert not reversible(TYPES[DR], REPORT[name])
