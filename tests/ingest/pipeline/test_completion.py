"""Entries that say only a part, as a table: what is unspoken of stays, what is deleted goes."""

from typing import Any

import pytest

from ingest.pipeline.completion import Partial, complete, document_of

A, B = {"url": "urn:a", "valueString": "1"}, {"url": "urn:b", "valueString": "2"}
MR1, MR2 = {"system": "urn:mr", "value": "1"}, {"system": "urn:mr", "value": "2"}
SS, OLD = {"system": "urn:ss", "value": "9"}, {"system": "urn:mr", "value": "0", "use": "old"}
TABLE: list[tuple[str, dict[str, Any], dict[str, Any], set[str], dict[str, Any]]] = [
    ("an element that is not there stays", {}, {"gender": "male"}, set(), {"gender": "male"}),
    ("one that is there counts", {"gender": "female"}, {"gender": "male"}, set(), {"gender": "female"}),
    ("one that is deleted goes", {}, {"gender": "male"}, {"gender"}, {}),
    ("its extensions go with it", {"birthDate": "1980"}, {"birthDate": "1", "_birthDate": {"extension": [A]}},
     set(), {"birthDate": "1980"}),
    ("text that is no date counts too", {"_birthDate": {"extension": [A]}}, {"birthDate": "1980"}, set(),
     {"_birthDate": {"extension": [A]}}),
    ("of several types there is one", {"deceasedDateTime": "2026"}, {"deceasedBoolean": True}, set(),
     {"deceasedDateTime": "2026"}),
    ("a value that is not sent stays", {}, {"valueQuantity": {"value": 1}}, set(),
     {"valueQuantity": {"value": 1}}),
    ("a value of another type replaces", {"valueString": "x"}, {"valueQuantity": {"value": 1}}, set(),
     {"valueString": "x"}),
    ("numbers speak for their system", {"identifier": [MR2]}, {"identifier": [MR1, SS]}, set(),
     {"identifier": [MR2, SS]}),
    ("numbers of merged records stay", {"identifier": [MR2]}, {"identifier": [MR1, OLD]}, set(),
     {"identifier": [MR2, OLD]}),
    ("the same number is there once", {"identifier": [MR1]}, {"identifier": [MR1]}, set(),
     {"identifier": [MR1]}),
    ("deleted numbers go", {}, {"identifier": [MR1]}, {"identifier"}, {}),
    ("extensions are told apart by their URL", {"extension": [A]},
     {"extension": [{**A, "valueString": "0"}, B]}, set(), {"extension": [A, B]}),
    ("one extension is deleted", {}, {"extension": [A, B]}, {"extension(urn:a)"}, {"extension": [B]}),
    ("id and meta are the store's", {}, {"id": "x", "meta": {}, "text": {}}, set(), {"text": {}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "stored", "deleted", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_a_part_is_completed_by_what_is_stored(
    said: dict[str, Any], stored: dict[str, Any], deleted: set[str], expected: dict[str, Any]
) -> None:
    whole = complete({"resourceType": "Patient", **said}, stored, Partial("", frozenset(deleted)))
    assert whole == {"resourceType": "Patient", **expected}


def test_an_encounter_s_status_that_is_not_known_says_nothing() -> None:
    for kind, status in (("Encounter", "finished"), ("DiagnosticReport", "unknown")):
        sent = {"resourceType": kind, "status": "unknown"}
        assert complete(sent, {"status": "finished"}, Partial(""))["status"] == status


def test_changed_results_alone_leave_the_others_in_their_order() -> None:
    def refers(*names: str) -> list[dict[str, str]]:
        return [{"reference": name} for name in names]

    sent: dict[str, Any] = {"resourceType": "DiagnosticReport", "result": refers("b", "d")}
    stored = {"result": refers("a", "b", "c")}
    assert complete(sent, stored, Partial("", results=True))["result"] == refers("a", "b", "c", "d")
    assert complete(sent, stored, Partial(""))["result"] == refers("b", "d")


@pytest.mark.parametrize(
    ("said", "deleted", "kept"),
    [
        ([], (), [("a", 1), ("b", 1)]),
        ([("b", 2)], (), [("a", 1), ("b", 2)]),
        ([("c", 1)], (), [("a", 1), ("b", 1), ("c", 1)]),
        ([], ("a",), [("b", 1)]),
        ([("a", 2)], ("a", "b"), [("a", 2)]),
        ([], ("a", "b"), []),
    ],
)
def test_changed_results_alone_leave_the_other_documents(said: Any, deleted: Any, kept: Any) -> None:
    def report(documents: Any) -> Any:
        forms = [{"title": title, "size": size} for title, size in documents]
        return {"resourceType": "DiagnosticReport", **({"presentedForm": forms} if forms else {})}

    stored = report([("a", 1), ("b", 1)])
    partial = Partial("", frozenset(map(document_of, deleted)), results=True)
    assert complete(report(said), stored, partial) == report(kept)
    # A report as a whole speaks for all its documents that it has.
    assert complete(report(said), stored, Partial("")) == report(said or [("a", 1), ("b", 1)])


def test_what_says_nothing_new_is_as_it_is_stored() -> None:
    stored: dict[str, Any] = {
        "resourceType": "Patient",
        "name": [{"family": "X"}],
        "extension": [A, B],
        "gender": "male",
    }
    stored |= {"identifier": [SS, MR1, OLD], "birthDate": "1980"}
    parts: list[dict[str, Any]] = [
        {"identifier": [MR1, SS], "gender": "male", "extension": [B, A]},
        {"identifier": [MR1]},
        {"extension": [B], "name": [{"family": "X"}]},
        {},
    ]
    for said in parts:
        whole = complete({"resourceType": "Patient", **said}, {"id": "x", "meta": {}, **stored}, Partial(""))
        assert list(whole.items()) == list(stored.items()), said


def test_what_is_new_stands_in_the_place_of_what_it_replaces() -> None:
    stored: dict[str, Any] = {"identifier": [SS, MR1, OLD], "extension": [A, B]}
    said: dict[str, Any] = {
        "identifier": [MR2, {"system": "urn:x", "value": "7"}],
        "extension": [{**A, "valueString": "0"}],
    }
    whole = complete({"resourceType": "Patient", **said}, stored, Partial(""))
    assert whole["identifier"] == [SS, MR2, OLD, {"system": "urn:x", "value": "7"}]
    assert whole["extension"] == [{**A, "valueString": "0"}, B]
