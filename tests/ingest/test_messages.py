"""Messages → upserts: who each entry is, and where references lead afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.identity import stable_id
from ingest.messages import Message, place, read_message
from store.errors import Category
from store.fhir.datatypes import Number
from store.resources import Identified
from store.tenancy import Tenant
from tests.support.reports import refusal, report, said

LAB = Tenant("lab", "Production")
SECRET = b"s" * 32
HEADER = {"resourceType": "MessageHeader", "source": {"endpoint": "urn:ehr"}}


def message(*resources: Any, header: dict[str, Any] | None = HEADER) -> dict[str, Any]:
    entries = [one if "resource" in one else {"resource": one} for one in resources]
    return {
        "resourceType": "Bundle",
        "type": "message",
        "entry": ([{"resource": header}] if header else []) + entries,
    }


def read(bundle: dict[str, Any]) -> Message:
    return read_message(bundle, client="c", entries_max=10)


def placed(
    bundle: dict[str, Any], known: dict[Identified, frozenset[str]] | None = None
) -> list[tuple[Any, str]]:
    return [(dict(one), id) for one, id in place(read(bundle), LAB, known=known or {}, secret=SECRET)]


def patient(value: str = "1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:m", "value": value}], **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", **more}


@pytest.mark.parametrize(
    ("bundle", "path", "category"),
    [
        pytest.param({"resourceType": "Patient"}, "Bundle.type", Category.UNPROCESSABLE, id="no Bundle"),
        pytest.param(
            {"resourceType": "Bundle", "type": "batch"},
            "Bundle.type",
            Category.UNPROCESSABLE,
            id="another Bundle",
        ),
        pytest.param(message(header=None), "Bundle.entry", Category.UNPROCESSABLE, id="no entries"),
        pytest.param(
            {"resourceType": "Bundle", "type": "message", "entry": [{}]},
            "Bundle.entry[0].resource",
            Category.UNPROCESSABLE,
            id="no resource",
        ),
        pytest.param(
            message({"id": "x"}),
            "Bundle.entry[1].resource.resourceType",
            Category.UNPROCESSABLE,
            id="no type",
        ),
        pytest.param(message(*[patient()] * 10), "Bundle.entry", Category.TOO_LARGE, id="eleven entries"),
        pytest.param(
            message(header={"resourceType": "MessageHeader", "source": "Doe"}),
            "MessageHeader.source",
            Category.UNPROCESSABLE,
            id="text for a source",
        ),
        pytest.param(
            message(header={"resourceType": "MessageHeader", "source": {"endpoint": 7}}),
            "MessageHeader.source.endpoint",
            Category.UNPROCESSABLE,
            id="number for an endpoint",
        ),
    ],
)
def test_refusal(bundle: dict[str, Any], path: str, category: Category) -> None:
    error = refusal(lambda: read(bundle))
    assert error.category is category
    assert [issue.expression for issue in error.issues] == [(path,)]
    assert "Doe" not in said(error)


def test_ten_entries_are_taken() -> None:
    assert len(read(message(*[patient()] * 9)).entries) == 10


def test_a_message_without_header_is_taken_and_named() -> None:
    assert read(message(patient(), header=None)).tolerances == ("no-message-header",)
    assert read(message(patient())).tolerances == ()


def test_identifiers_to_look_up() -> None:
    found = read(message(patient("1"), patient("1"), patient("2"), observation()))
    assert set(found.identifiers) == {Identified("Patient", "urn:m|1"), Identified("Patient", "urn:m|2")}
    assert len(found.identifiers) == 2


def test_the_same_message_again_leads_to_the_same_ids() -> None:
    bundle = message(patient(), observation(status="final"), report(id="r"))
    assert placed(bundle) == placed(bundle)
    again, first = [
        [id for _, id in placed(message(*reversed(order)))]
        for order in ([patient(), report()], [report(), patient()])
    ]
    assert set(again) == set(first)


def test_a_resource_that_is_stored_already_keeps_its_id() -> None:
    bundle = message(patient(), report(subject={"reference": "urn:uuid:p"}))
    bundle["entry"][1]["fullUrl"] = "urn:uuid:p"
    known = {Identified("Patient", "urn:m|1"): frozenset({"theirs", "zz"})}
    (_, _), (_, patient_id), (found, _) = placed(bundle, known)
    assert patient_id == "theirs"
    assert found["subject"]["reference"] == "Patient/theirs"


def test_of_several_that_carry_an_identifier_the_derived_one_goes_first() -> None:
    derived = stable_id(LAB, "Patient urn:m|1", SECRET)
    known = {Identified("Patient", "urn:m|1"): frozenset({"0", derived})}
    assert placed(message(patient()), known)[1][1] == derived


def test_sources_and_clients_have_ids_of_their_own() -> None:
    other = {"resourceType": "MessageHeader", "source": {"endpoint": "urn:other"}}
    bundles = [
        message(observation(id="1"), header=header)
        for header in (HEADER, other, {"resourceType": "MessageHeader"})
    ]
    assert len({placed(bundle)[1][1] for bundle in bundles}) == 3


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("Patient/p", "Patient/{id}", id="relative"),
        pytest.param("Patient/p/_history/3", "Patient/{id}", id="a version of the source means nothing here"),
        pytest.param("urn:uuid:p", "Patient/{id}", id="fullUrl"),
        pytest.param("Patient/elsewhere", "Patient/elsewhere", id="not in the message"),
        pytest.param("#p", "#p", id="contained"),
        pytest.param("Group/p", "Group/p", id="another type"),
    ],
)
def test_references_lead_to_where_it_is_stored(sent: str, expected: str) -> None:
    entry = {"resource": patient(id="p"), "fullUrl": "urn:uuid:p"}
    nested = {
        "extension": [{"valueReference": {"reference": sent}}],
        "value": Number("1.00"),
        "reference": None,
    }
    (_, _), (_, patient_id), (found, _) = placed(
        message(entry, report(subject={"reference": sent}, more=nested))
    )
    wanted = expected.format(id=patient_id)
    assert found["subject"] == {"reference": wanted}
    assert found["more"] == nested | {"extension": [{"valueReference": {"reference": wanted}}]}


def test_only_references_are_rewritten() -> None:
    texts = {"display": "Patient/p", "note": ["Patient/p"]}
    (_, _), (_, _), (found, _) = placed(message(patient(id="p"), report(**texts)))
    assert {name: found[name] for name in texts} == texts


def test_companions_without_any_identity_are_told_apart_by_their_content() -> None:
    one, two, again = (observation(status="final", note=text) for text in ("a", "b", "a"))
    ids = [id for _, id in placed(message(one, two, again))[1:]]
    assert ids[0] == ids[2] != ids[1]


def test_the_same_companion_of_another_message_is_not_overwritten_by_a_similar_one() -> None:
    [first], [second] = (
        [id for _, id in placed(message(observation(status="final", note=text)))[1:]] for text in ("a", "b")
    )
    assert first != second


def test_two_that_differ_under_one_identifier_are_two() -> None:
    ids = [id for _, id in placed(message(patient(id="a", active=True), patient(id="b", active=False)))[1:]]
    assert ids[0] != ids[1]


def test_twins_under_one_identifier_are_one() -> None:
    ids = [id for _, id in placed(message(patient(id="a"), patient(id="b")))[1:]]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("resource", [observation(note="\ud800"), observation(a=[[]])])
def test_what_cannot_be_written_is_refused_and_no_more(resource: dict[str, Any]) -> None:
    deep: Any = resource
    if "a" in resource:
        for _ in range(400):
            deep = {"resourceType": "Observation", "a": deep}
    error = refusal(lambda: read(message(deep)))
    assert error.category is Category.INCORRECT


def test_an_attachment_leads_to_where_its_binary_is_stored() -> None:
    entry = {"resource": {"resourceType": "Binary", "id": "b"}, "fullUrl": "urn:uuid:b"}
    (_, _), (_, binary_id), (found, _) = placed(message(entry, report(presentedForm=[{"url": "urn:uuid:b"}])))
    assert found["presentedForm"] == [{"url": f"Binary/{binary_id}"}]
