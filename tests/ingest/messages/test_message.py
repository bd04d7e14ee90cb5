"""Messages → upserts: who each entry is, and where references lead afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.ids import stable_id
from ingest.messages.message import Message, read_message
from ingest.pipeline.identity.decisions import Candidate
from ingest.pipeline.identity.facts import PLAIN, FactContext, facts_of
from ingest.pipeline.identity.lookups import wanted
from ingest.pipeline.identity.plan import plan
from ingest.pipeline.identity.reader import Reader
from store.errors import Category
from store.fhir.datatypes import Number
from store.resources.resource_keys import ResourceKey
from store.tenancy import Tenant
from tests.support.reports import refusal, report, said

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def reader(bundle: dict[str, Any]) -> Reader:
    told = read(bundle)
    return Reader(told.entries, FactContext(frozenset(), str(told.sender)), base="http://ours")


def derive(name: str) -> str:
    return stable_id(LAB, name, SECRET)


def placed(bundle: dict[str, Any], known: Sequence[Candidate] = ()) -> list[tuple[Any, str]]:
    planned = plan(reader(bundle), known, derive)
    return [(dict(one.resource), one.key.id) for one in planned.placements]


def stored(resource_id: str, resource: dict[str, Any]) -> Candidate:
    return Candidate(ResourceKey(resource["resourceType"], resource_id), facts_of(resource, PLAIN))


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


def test_index_entries_to_look_up() -> None:
    number = [{"system": "urn:o", "value": "n|1"}]
    lone = observation(identifier=number, subject={"reference": "Patient/p"})
    found = wanted(reader(message(patient("1", id="p"), patient("2"), observation(), lone)), derive)
    known = [one for one in found["Patient"] if not one.startswith("kin=")]
    # A record that is merged into another is found by what the other lists.
    assert set(known) == {"identifier=1", "identifier=2", "former=1", "former=2"}
    assert found["Observation"] == {
        f"Patient/{placed(message(patient('1', id='p')))[1][1]}&number=urn:o|n\\|1",
        "urn:m|1&number=urn:o|n\\|1",  # Another message may name the patient by number.
    }
    assert found.keys() == {"Patient", "Observation"}


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
    known = [stored("theirs", patient()), stored("zz", patient())]
    (_, _), (_, patient_id), (found, _) = placed(bundle, known)
    assert patient_id == "theirs"
    assert found["subject"]["reference"] == "Patient/theirs"


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
        pytest.param("Patient/elsewhere", "urn:dod:unresolved:Patient/elsewhere", id="not in the message"),
        pytest.param("http://ehr/Patient/p", "http://ehr/Patient/p", id="absolute, of somebody else"),
        pytest.param("#p", "#p", id="contained"),
        pytest.param("Group/p", "urn:dod:unresolved:Group/p", id="another type"),
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


def test_two_entries_of_one_id_that_differ_are_refused_with_both_places() -> None:
    error = refusal(lambda: read(message(observation(id="o", note="a"), observation(id="o", note="b"))))
    assert error.category is Category.UNPROCESSABLE
    assert error.issues[0].expression == ("Bundle.entry[2].resource.id", "Bundle.entry[1].resource.id")


def test_a_document_is_a_message_of_its_author() -> None:
    author = {"resourceType": "Organization", "id": "o", "identifier": [{"system": "urn:o", "value": "7"}]}
    composition = {"resourceType": "Composition", "author": [{"reference": "Organization/o"}]}
    bundle = message(composition, author, header=None) | {"type": "document"}
    assert str(read(bundle).sender) == "author urn:o|7"
    assert read(bundle).tolerances == ()
    nobody = message({"resourceType": "Composition"}, header=None) | {"type": "document"}
    assert str(read(nobody).sender) == "client c"
    assert str(read(nobody | {"identifier": {"system": "urn:docs"}}).sender) == "author urn:docs"
