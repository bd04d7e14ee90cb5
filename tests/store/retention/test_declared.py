"""A policy as it is written, and everything that can be wrong with it."""

from __future__ import annotations

import pytest

from store.retention.categories import CATEGORIES, is_category
from store.retention.declared import RULES_MAX, PolicyError, declared, parse, written
from store.retention.policy import UNLIMITED, CountedFrom, Policy, Rule

V2 = "http://terminology.hl7.org/CodeSystem/v2-0074"
FULL = f"""
keep_days = 365
counted_from = "issued"
superseded_days = 30
dead_letter_days = 14
audit_days = 730
page_token_days = 1
idempotency_days = 7
erasure_days = 3650

[[rules]]
type = "DiagnosticReport"
category = ["LAB", "http://hl7.org/fhir/v2/0074|RAD", "urn:own|X"]
status = ["preliminary", "registered"]
keep_days = 10
counted_from = "effective"

[[rules]]
category = ["{V2}|MB"]
without_end = true
"""
READ = Policy(
    keep_days=365,
    counted_from=CountedFrom.ISSUED,
    superseded_days=30,
    dead_letter_days=14,
    audit_days=730,
    page_token_days=1,
    idempotency_days=7,
    erasure_days=3650,
    rules=(
        Rule(
            10,
            CountedFrom.EFFECTIVE,
            "DiagnosticReport",
            ("lab", f"{V2}|rad", "urn:own|x"),
            ("preliminary", "registered"),
        ),
        Rule(None, category=(f"{V2}|mb",)),
    ),
)


def test_a_policy_is_read() -> None:
    assert parse(FULL) == READ


@pytest.mark.parametrize("text", ["", "without_end = true"])
def test_what_is_not_said_stays_without_end(text: str) -> None:
    assert parse(text) == UNLIMITED


@pytest.mark.parametrize("policy", [READ, UNLIMITED, Policy(keep_days=1), READ._replace(version=3)])
def test_what_is_written_is_read_the_same(policy: Policy) -> None:
    assert parse(written(policy)) == policy._replace(version=0)


RULE = {"type": "DiagnosticReport", "keep_days": 5}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        pytest.param({"keep_days": 0}, "`keep_days`", id="nothing"),
        pytest.param({"keep_days": -1}, "`keep_days`", id="negative"),
        pytest.param({"keep_days": 36_501}, "`keep_days`", id="more than a hundred years"),
        pytest.param({"keep_days": True}, "`keep_days`", id="true is not one"),
        pytest.param({"keep_days": 1.5}, "`keep_days`", id="half a day"),
        pytest.param({"keep_days": "10"}, "`keep_days`", id="text"),
        pytest.param({"keep_days": 5, "without_end": True}, "`keep_days`", id="both"),
        pytest.param({"superseded_days": 0}, "`superseded_days`", id="past versions"),
        pytest.param({"erasure_days": 0}, "`erasure_days`", id="erasures"),
        pytest.param({"keepdays": 5}, "`keepdays`", id="an unknown name"),
        pytest.param({"counted_from": "birth"}, "`counted_from`", id="counted from elsewhere"),
        pytest.param({"rules": [{}]}, "`rules.0.keep_days`", id="an empty rule"),
        pytest.param({"rules": [{"keep_days": 3}]}, "`rules.0.type`", id="a rule for everything"),
        pytest.param(
            {"rules": [{"type": "DiagnosticReport"}]}, "`rules.0.keep_days`", id="a rule of no length"
        ),
        pytest.param(
            {"rules": [RULE, {**RULE, "keep_days": 0}]}, "`rules.1.keep_days`", id="the second rule"
        ),
        pytest.param({"rules": [{**RULE, "type": "Report"}]}, "`rules.0.type`", id="an unknown type"),
        pytest.param(
            {"rules": [{**RULE, "category": ["FOO"]}]}, "`rules.0.category`", id="an unknown category"
        ),
        pytest.param({"rules": [{**RULE, "category": [f"{V2}|FOO"]}]}, "`rules.0.category`", id="of v2-0074"),
        pytest.param({"rules": [{**RULE, "category": ["|LAB"]}]}, "`rules.0.category`", id="an empty system"),
        pytest.param(
            {"rules": [{**RULE, "category": ["urn:own|"]}]}, "`rules.0.category`", id="a system alone"
        ),
        pytest.param({"rules": [{**RULE, "category": "LAB"}]}, "`rules.0.category`", id="no list"),
        pytest.param({"rules": [{**RULE, "status": ["done"]}]}, "`rules.0.status`", id="an unknown status"),
        pytest.param(
            {"rules": [{"type": "Patient", "status": ["final"], "keep_days": 5}]},
            "`rules.0.status`",
            id="a patient has no status",
        ),
        pytest.param({"rules": [RULE] * (RULES_MAX + 1)}, "`rules`", id="too many rules"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], place: str) -> None:
    with pytest.raises(PolicyError) as refused:
        declared(given)
    assert any(fault.startswith(place) for fault in refused.value.faults), refused.value.faults


def test_everything_wrong_is_said_at_once() -> None:
    rules = [{"type": "Report", "keep_days": 5}, {**RULE, "category": ["FOO", "LAB", "BAR"]}]
    with pytest.raises(PolicyError) as refused:
        declared({"rules": rules})
    assert len(refused.value.faults) == 3


def test_as_many_rules_as_there_may_be() -> None:
    assert len(declared({"rules": [RULE] * RULES_MAX}).rules) == RULES_MAX


def test_no_toml() -> None:
    with pytest.raises(PolicyError, match="no TOML"):
        parse("keep_days: 5")


def test_every_known_category_is_one_in_any_case() -> None:
    for system, codes in CATEGORIES.items():
        for code in codes:
            assert is_category(code.lower())
            assert is_category(f"{system}|{code.upper()}")
