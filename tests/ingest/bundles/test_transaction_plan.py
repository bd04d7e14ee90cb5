"""A transaction on paper: what is asked, what must be looked up, what is written, where references lead."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.bundles.transaction_actions import Condition, Delete, Existing, Put, Read
from ingest.bundles.transaction_entries import conditions, read_transaction
from ingest.bundles.transaction_plan import place
from store.errors import Category
from store.resources.resource_keys import ResourceKey
from tests.support.reports import refusal, said

Json = dict[str, Any]
BASE = "https://dod.example/fhir/R4/lab/Production"
PATIENT = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"
OID = "urn:oid:2.16.840.1.1"
HOME = "https://lab.example/fhir/Patient/p1"
ONE = Condition("Patient", "identifier=urn:mrn|7")


def entry(
    method: str, url: str, resource: Json | None = None, full_url: str | None = None, **more: Any
) -> Json:
    return {
        **({} if full_url is None else {"fullUrl": full_url}),
        **({} if resource is None else {"resource": resource}),
        "request": {"method": method, "url": url, **more},
    }


def transaction(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def patient(**more: Any) -> Json:
    return {"resourceType": "Patient", **more}


def about(reference: str, **more: Any) -> Json:
    return {"resourceType": "DiagnosticReport", "subject": {"reference": reference}, **more}


def placed(*entries: Json, found: dict[Condition, list[str]] | None = None) -> list[Any]:
    keys = {c: tuple(ResourceKey(c.type, i) for i in ids) for c, ids in (found or {}).items()}
    asked = read_transaction(transaction(*entries), entries_max=99, base=BASE)
    return list(place(asked, keys, derived=lambda condition: "derived"))


@pytest.mark.parametrize(
    ("entries", "code", "path"),
    [
        ([{"resource": patient()}], "required", "Bundle.entry[0].request"),
        ([entry("HIT", "Patient/1")], "not-supported", "Bundle.entry[0].request"),
        ([entry("PATCH", "Patient/1")], "required", "Bundle.entry[0].resource"),
        ([entry("PATCH", "Patient", {"resourceType": "Binary"})], "value", "Bundle.entry[0].request.url"),
        ([entry("POST", "Patient")], "required", "Bundle.entry[0].resource"),
        ([entry("POST", "Observation", patient())], "invalid", "Bundle.entry[0].resource.resourceType"),
        ([entry("POST", "Patient/1", patient())], "value", "Bundle.entry[0].request.url"),
        ([entry("POST", "Patient/1?a=1", patient())], "value", "Bundle.entry[0].request.url"),
        ([entry("PUT", "Patient", patient())], "value", "Bundle.entry[0].request.url"),
        ([entry("PUT", "Patient/1", patient(id="2"))], "invalid", "Bundle.entry[0].resource.id"),
        ([entry("PUT", "Patient/1", patient())], "invalid", "Bundle.entry[0].resource.id"),
        ([entry("DELETE", "Patient")], "value", "Bundle.entry[0].request.url"),
        (
            [entry("GET", "Patient/1"), entry("POST", "DiagnosticReport", about("urn:uuid:nowhere"))],
            "not-found",
            "Bundle.entry[1].resource.subject.reference",
        ),
        (
            [entry("POST", "Patient", patient(contained=[about("urn:oid:1.2")]))],
            "not-found",
            "Bundle.entry[0].resource.contained[0].subject.reference",
        ),
    ],
)
def test_an_entry_that_breaks_a_rule_is_named(entries: list[Json], code: str, path: str) -> None:
    error = refusal(lambda: read_transaction(transaction(*entries), entries_max=99, base=BASE))
    assert error.category is Category.INCORRECT
    assert [(issue.code, issue.expression) for issue in error.issues] == [(code, (path,))]
    assert "nowhere" not in said(error)


def test_every_issue_is_told() -> None:
    twice = [entry("POST", "Patient", patient(), PATIENT)] * 2
    error = refusal(lambda: read_transaction(transaction({}, *twice), entries_max=99, base=BASE))
    assert [issue.expression[0] for issue in error.issues] == [
        "Bundle.entry[0].request",
        "Bundle.entry[1].fullUrl",
        "Bundle.entry[2].fullUrl",
    ]


def test_entries_are_bounded() -> None:
    bundle = transaction(*[entry("GET", "Patient/1")] * 3)
    assert len(read_transaction(bundle, entries_max=3, base=BASE)) == 3
    assert refusal(lambda: read_transaction(bundle, entries_max=2, base=BASE)).category is Category.TOO_LARGE


def test_what_must_be_looked_up() -> None:
    asked = read_transaction(
        transaction(
            entry("POST", "Patient", patient(), ifNoneExist="?a=1"),
            entry("POST", "Patient", patient(), ifNoneExist="a=1"),
            entry("PUT", "Patient?b=2", patient()),
            entry("DELETE", "Patient?c=3"),
            entry("POST", "DiagnosticReport", about("Practitioner?d=4")),
            entry("POST", "DiagnosticReport", about("https://x.example/Practitioner?e=5")),
            entry("GET", "Patient/1"),
        ),
        entries_max=99,
        base=BASE,
    )
    wanted = {("Patient", "a=1"), ("Patient", "b=2"), ("Patient", "c=3"), ("Practitioner", "d=4")}
    assert conditions(asked) == wanted


def test_what_entries_come_down_to() -> None:
    exist, absent, many = (Condition("Patient", c) for c in ("exist=1", "absent=1", "gone=1"))
    actions = placed(
        entry("GET", "Patient/r"),
        entry("PUT", "Patient/u", patient(id="u"), ifMatch='W/"3"'),
        entry("PUT", "Patient/n", patient(id="n"), ifNoneMatch="*"),
        entry("POST", "Patient", patient(id="ignored")),
        entry("POST", "Patient", patient(), ifNoneExist="exist=1"),
        entry("POST", "Patient", patient(), ifNoneExist="absent=1"),
        entry("DELETE", "Patient/d", ifMatch='W/"1"'),
        entry("DELETE", "Patient?gone=1"),
        entry("DELETE", "Patient?absent=1"),
        found={exist: ["there"], absent: [], many: ["g"]},
    )
    key = ResourceKey
    assert [actions[0], *actions[4:5], *actions[6:]] == [
        Read(0, key("Patient", "r")),
        Existing(4, key("Patient", "there")),
        Delete(6, key("Patient", "d"), 'W/"1"'),
        Delete(7, key("Patient", "g")),
        Delete(8, None),
    ]
    assert actions[1] == Put(1, key("Patient", "u"), patient(id="u"), if_match='W/"3"')
    assert actions[2] == Put(2, key("Patient", "n"), patient(id="n"), only_absent=True)
    assert (actions[3].fresh, actions[3].key.id != "ignored") == (True, True)
    assert actions[5] == Put(5, key("Patient", "derived"), patient(), only_unmatched=True)


@pytest.mark.parametrize(
    ("matches", "own", "expected"),
    [
        ([], None, "derived"),
        ([], "mine", "mine"),
        (["there"], None, "there"),
        (["there"], "there", "there"),
        (["there"], "mine", Category.INCORRECT),
        (["a", "b"], None, Category.PRECONDITION),
    ],
)
def test_conditional_update(matches: list[str], own: str | None, expected: str | Category) -> None:
    body = patient() if own is None else patient(id=own)

    def act() -> list[Any]:
        return placed(entry("PUT", f"Patient?{ONE.criteria}", body), found={ONE: matches})

    if isinstance(expected, Category):
        assert refusal(act).category is expected
    else:
        [put] = act()
        assert (put.key.id, put.only_unmatched) == (expected, not matches)


def test_what_is_deleted_fulfils_no_condition() -> None:
    _, put = placed(
        entry("DELETE", "Patient/old"),
        entry("POST", "Patient", patient(), ifNoneExist=ONE.criteria),
        found={ONE: ["old"]},
    )
    assert (put.key.id, put.only_unmatched) == ("derived", True)


@pytest.mark.parametrize(
    "entries",
    [
        [entry("PUT", "Patient/1", patient(id="1")), entry("DELETE", "Patient/1")],
        [entry("PUT", "Patient/1", patient(id="1")), entry("PUT", "Patient/1", patient(id="1"))],
        [entry("PUT", f"Patient?{ONE.criteria}", patient()), entry("PUT", "Patient/1", patient(id="1"))],
    ],
)
def test_two_entries_about_one_resource(entries: list[Json]) -> None:
    error = refusal(lambda: placed(*entries, found={ONE: ["1"]}))
    assert error.category is Category.INCORRECT
    assert [issue.expression[0] for issue in error.issues] == ["Bundle.entry[0]", "Bundle.entry[1]"]


def test_reading_what_is_written_is_no_twin() -> None:
    assert len(placed(entry("PUT", "Patient/1", patient(id="1")), entry("GET", "Patient/1"))) == 2


REFERENCES = [
    pytest.param(PATIENT, None, "Patient/u", id="urn"),
    pytest.param(OID, None, "Patient/o", id="oid"),
    pytest.param(f"{PATIENT}#name", None, "Patient/u#name", id="fragment"),
    pytest.param(HOME, None, "Patient/h", id="absolute"),
    pytest.param(f"{HOME}/_history/3", None, "Patient/h", id="version of the source"),
    pytest.param("Patient/p1", "https://lab.example/fhir/DiagnosticReport/r", "Patient/h", id="same root"),
    pytest.param("Patient/p1", "https://other.example/DiagnosticReport/r", "Patient/p1", id="other root"),
    pytest.param("Patient/p1", "urn:uuid:r", "Patient/p1", id="relative is the server's"),
    pytest.param("#inner", None, "#inner", id="contained"),
    pytest.param("https://else.example/Patient/9", None, "https://else.example/Patient/9", id="foreign"),
    pytest.param(f"Patient?{ONE.criteria}", None, "Patient/found", id="conditional"),
]


@pytest.mark.parametrize(("reference", "full_url", "expected"), REFERENCES)
def test_where_a_reference_leads(reference: str, full_url: str | None, expected: str) -> None:
    *_, put = placed(
        entry("PUT", "Patient/u", patient(id="u"), PATIENT),
        entry("PUT", "Patient/o", patient(id="o"), OID),
        entry("PUT", "Patient/h", patient(id="h"), HOME),
        entry("POST", "DiagnosticReport", about(reference), full_url),
        found={ONE: ["found"]},
    )
    assert put.resource["subject"] == {"reference": expected}


def test_everywhere_a_reference_can_be() -> None:
    body = about(
        PATIENT,
        contained=[about(PATIENT, id="inner")],
        identifier=[{"system": "urn:ietf:rfc:3986", "value": PATIENT}],
        presentedForm=[{"url": PATIENT}],
        extension=[{"url": "urn:x", "valueUri": PATIENT}, {"url": "urn:y", "valueCanonical": PATIENT}],
        text={"status": "generated", "div": f"<div><a href=\"{PATIENT}\">x</a><img src='{PATIENT}'/></div>"},
    )
    put, _ = placed(
        entry("POST", "DiagnosticReport", body),
        entry("PUT", "Patient/u", patient(id="u"), PATIENT),
    )
    assert put.resource == about(
        "Patient/u",
        contained=[about("Patient/u", id="inner")],
        identifier=[{"system": "urn:ietf:rfc:3986", "value": PATIENT}],
        presentedForm=[{"url": "Patient/u"}],
        extension=[{"url": "urn:x", "valueUri": "Patient/u"}, {"url": "urn:y", "valueCanonical": PATIENT}],
        text={
            "status": "generated",
            "div": "<div><a href=\"Patient/u\">x</a><img src='Patient/u'/></div>",
        },
    )


def test_references_to_what_is_there_already_lead_to_it() -> None:
    _, put = placed(
        entry("POST", "Patient", patient(), PATIENT, ifNoneExist=ONE.criteria),
        entry("POST", "DiagnosticReport", about(PATIENT)),
        found={ONE: ["there"]},
    )
    assert put.resource["subject"] == {"reference": "Patient/there"}


@pytest.mark.parametrize(
    ("matches", "category"), [([], Category.INCORRECT), (["a", "b"], Category.PRECONDITION)]
)
def test_a_conditional_reference_needs_one_match(matches: list[str], category: Category) -> None:
    reports = [entry("POST", "DiagnosticReport", about(f"Patient?{ONE.criteria}"))] * 2
    error = refusal(lambda: placed(*reports, found={ONE: matches}))
    assert (error.category, len(error.issues)) == (category, 1)
    assert error.issues[0].expression == ("Bundle.entry[0].resource.subject.reference",)
    assert "urn:mrn" not in said(error)


def test_a_conditional_reference_sees_what_the_transaction_stores() -> None:
    own = patient(id="p", identifier=[{"system": "urn:mrn", "value": "7"}])
    put, _ = placed(
        entry("POST", "DiagnosticReport", about(f"Patient?{ONE.criteria}")),
        entry("PUT", "Patient/p", own),
        found={ONE: []},
    )
    assert put.resource["subject"] == {"reference": "Patient/p"}


@pytest.mark.parametrize("number", ["8", None])
def test_a_conditional_reference_does_not_lead_to_whom_the_transaction_gives_another_number(
    number: str | None,
) -> None:
    """The stored record carries the number still; once the transaction is done, nobody does."""
    numbered = {"identifier": [{"system": "urn:mrn", "value": number}]} if number else {}
    report = entry("POST", "DiagnosticReport", about(f"Patient?{ONE.criteria}"))
    changed = entry("PUT", "Patient/p", patient(id="p", **numbered))
    error = refusal(lambda: placed(report, changed, found={ONE: ["p"]}))
    assert (error.category, error.issues[0].code) == (Category.INCORRECT, "not-found")
    # Somebody else who is given it is meant.
    given = patient(id="q", identifier=[{"system": "urn:mrn", "value": "7"}])
    put, *_ = placed(report, changed, entry("PUT", "Patient/q", given), found={ONE: ["p"]})
    assert put.resource["subject"] == {"reference": "Patient/q"}


def test_order_of_entries_does_not_matter() -> None:
    entries = [
        entry("PUT", "Patient/u", patient(id="u"), PATIENT),
        entry("PUT", "DiagnosticReport/r", about(PATIENT, id="r")),
        entry("DELETE", "Patient/old"),
    ]
    there = {
        (type(a), a.key, getattr(a, "resource", {}).get("subject", {}).get("reference"))
        for a in placed(*entries)
    }
    back = {
        (type(a), a.key, getattr(a, "resource", {}).get("subject", {}).get("reference"))
        for a in placed(*entries[::-1])
    }
    assert there == back
