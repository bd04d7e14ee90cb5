"""The walk by R4's definitions: each deviation with its name and place, and lists made straight."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.prepare import prepare
from ingest.pipeline.validation.conformance import look, straightened
from ingest.pipeline.validation.deviations import MENDABLE
from ingest.pipeline.validation.tolerances import KEPT, MENDED, TOLERANCES
from store.errors import ServiceError
from store.fhir.datatypes import Number
from store.fhir.definitions import definitions
from store.fhir.resource_types import RESOURCE_TYPES
from store.search.parameters import TYPES
from tests.support.reports import attempt, refusal, report

SENTINEL = "Doe-4711"
CODING = {"coding": [{"code": "LAB"}]}
DIV = "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>"
CONTAINED = {
    "resourceType": "Patient",
    "id": "a",
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "#"}],
}
CONTAINED_BESIDE = {"resourceType": "Organization", "id": "o"}
BASE = "https://dod.example/fhir/R4/a/Development"


def resource(kind: str, /, **elements: Any) -> Any:
    return {"resourceType": kind, **elements}


def told(sent: Any) -> list[tuple[str, str]]:
    looked = look(sent)
    return [(issue.expression[0], issue.code) for issue in looked.issues]


@pytest.mark.parametrize(
    "sent",
    [
        report(),
        report(conclusion="x", _conclusion={"extension": [{"url": "urn:x", "valueAge": {"value": 7}}]}),
        resource("Patient", name=[{"given": [None, "Ann"], "_given": [{"id": "a"}, None]}]),
        resource("Patient", _birthDate={"extension": [{"url": "urn:x", "valueBoolean": True}]}),
        resource("Patient", birthDate="2020-02", deceasedDateTime="2020-01-01T10:00:00.5+02:00"),
        resource("Patient", multipleBirthInteger=2, contact=[{"relationship": [CODING]}]),
        resource("Observation", status="final", code=CODING, valueQuantity={"value": Number("1.00")}),
        resource("Observation", _status={"id": "1"}, code=CODING),
        resource("Observation", status="final", code=CODING, valueTime="10:00:00"),
        resource("Organization", alias=[None, "x"], _alias=[{"id": "1"}, None]),
        resource("Basic", code=CODING, subject={"reference": "Patient/1/_history/2", "type": "Patient"}),
        resource("Basic", code=CODING, subject={"reference": "urn:uuid:0f2a"}, author={"reference": "#"}),
        resource("Basic", code=CODING, author={"reference": "#a"}, contained=[CONTAINED, CONTAINED_BESIDE]),
        resource("Patient", name=[{"text": "a\tb\r\nc\u00a0d\u200f"}]),
        resource("Basic", code=CODING, subject={"reference": "https://x.example/Patient/1"}),
        resource("Basic", code=CODING, text={"status": "generated", "div": DIV}),
        resource("Basic", code=CODING, contained=[resource("Patient", id="1", active=True)]),
        resource("Bundle", type="collection", entry=[{"resource": resource("Patient", x=1)}]),
        resource("NoSuchType", x=1),
    ],
)
def test_what_r4_allows(sent: Any) -> None:
    assert told(sent) == []


@pytest.mark.parametrize(
    ("sent", "name", "place"),
    [
        (resource("Patient", colour=SENTINEL), "unknown-element", "Patient.colour"),
        (resource("Patient", _name=[None]), "unknown-element", "Patient._name"),
        (resource("Patient", name=[{"first": SENTINEL}]), "unknown-element", "Patient.name[0].first"),
        (resource("Patient", contact=[{"gender": 1}]), "wrong-value", "Patient.contact[0].gender"),
        (resource("Patient", active="true"), "wrong-value", "Patient.active"),
        (resource("Patient", photo=[{"creation": SENTINEL}]), "wrong-value", "Patient.photo[0].creation"),
        (resource("Patient", gender=" male"), "wrong-value", "Patient.gender"),
        (resource("Patient", maritalStatus=SENTINEL), "wrong-value", "Patient.maritalStatus"),
        (resource("Patient", gender=["a", "b"]), "wrong-value", "Patient.gender"),
        (resource("Patient", photo=[{"size": -1}]), "wrong-value", "Patient.photo[0].size"),
        (resource("Patient", photo=[{"url": "a b"}]), "wrong-value", "Patient.photo[0].url"),
        (
            resource("Patient", multipleBirthInteger=Number("1.5")),
            "wrong-value",
            "Patient.multipleBirthInteger",
        ),
        (
            resource("Provenance", target=[], recorded="2020-01-01T00:00:00Z"),
            "missing-required",
            "Provenance.agent",
        ),
        (resource("Patient", link=[{"other": {"display": "x"}}]), "missing-required", "Patient.link[0].type"),
        (resource("Basic", code=CODING, text={"status": "empty"}), "missing-required", "Basic.text.div"),
        (
            resource("Patient", deceasedDateTime="2020-01-01T10:00:00"),
            "date-without-zone",
            "Patient.deceasedDateTime",
        ),
        (
            resource("Patient", deceasedDateTime="2020-01-01T10:00Z"),
            "date-without-seconds",
            "Patient.deceasedDateTime",
        ),
        (resource("Patient", deceasedDateTime="2020-01-01T24:00:00Z"), "hour-24", "Patient.deceasedDateTime"),
        *[
            (resource("Patient", managingOrganization={"reference": text}), "dead-reference", place)
            for place in ("Patient.managingOrganization.reference",)
            for text in (
                "Organization 5",
                "5",
                "/Organization/5",
                "Organization/5/",
                "Org/5",
                "Organization/a_b",
                "#o",
            )
        ],
        (
            resource("Basic", code=CODING, author={"reference": "#a"}, contained=[CONTAINED]),
            "dead-reference",
            "Basic.contained[0].managingOrganization.reference",
        ),
        *[
            (resource("Patient", name=[{"given": ["x", f"{SENTINEL}{text}"]}]), "control-character", place)
            for place in ("Patient.name[0].given[1]",)
            for text in ("\0", "\b", "\f", "\x1b")
        ],
        (
            resource("Patient", managingOrganization={"reference": "Organization?identifier=a|b"}),
            "conditional-reference",
            "Patient.managingOrganization.reference",
        ),
        (
            resource("Patient", identifier=[{"period": {"start": "2021", "end": "2020"}}]),
            "reversed-period",
            "Patient.identifier[0].period",
        ),
        (
            resource("Patient", identifier=[{"type": [CODING]}]),
            "list-for-object",
            "Patient.identifier[0].type",
        ),
        (resource("Patient", birthDate=["2020"]), "list-for-object", "Patient.birthDate"),
        (resource("Patient", identifier={"value": "x"}), "object-for-list", "Patient.identifier"),
        (resource("Patient", name=[{"given": "Ann"}]), "object-for-list", "Patient.name[0].given"),
        (resource("Patient", identifier=[None]), "null-in-list", "Patient.identifier[0]"),
        (
            resource("Basic", code=CODING, contained=[resource("Patient", id="1", active=1)]),
            "wrong-value",
            "Basic.contained[0].active",
        ),
    ],
)
def test_what_r4_does_not_allow(sent: Any, name: str, place: str) -> None:
    looked = look(sent)
    assert looked.names == (name,)
    assert [issue.expression for issue in looked.issues] == [(place,)]
    assert SENTINEL not in looked.issues[0].text
    ready = prepare(sent, "1", base=BASE, companion=True)
    assert name in ready.tolerances
    assert name in MENDABLE or (place,) in [issue.expression for issue in ready.kept]
    strict = refusal(lambda: prepare(sent, "1", base=BASE, companion=True, strict=True))
    assert any(name in issue.text or (place,) == issue.expression for issue in strict.issues)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"identifier": {"type": [CODING]}}, {"identifier": [{"type": CODING}]}),
        (
            {"name": {"given": "Ann", "_given": {"id": "1"}}},
            {"name": [{"given": ["Ann"], "_given": [{"id": "1"}]}]},
        ),
        (
            {"birthDate": ["2020"], "_birthDate": [{"id": "1"}]},
            {"birthDate": "2020", "_birthDate": {"id": "1"}},
        ),
        ({"gender": ["a", "b"]}, {"gender": ["a", "b"]}),
        ({"identifier": [None, {"value": "x"}]}, {"identifier": [{"value": "x"}]}),
        ({"name": [{"given": [None, "Ann"]}]}, {"name": [{"given": [None, "Ann"]}]}),
        (
            {"contained": {"resourceType": "Organization", "alias": "x"}},
            {"contained": [{"resourceType": "Organization", "alias": ["x"]}]},
        ),
        ({"unknown": [{"x": 1}], "link": 7}, {"unknown": [{"x": 1}], "link": [7]}),
    ],
)
def test_lists_are_made_straight(sent: Any, kept: Any) -> None:
    patient = resource("Patient", **sent)
    assert straightened(patient) == resource("Patient", **kept)
    assert list(straightened(patient)) == list(patient)
    assert straightened(straightened(patient)) == straightened(patient)


def test_what_is_straightened_within_what_is_straightened_is_named_too() -> None:
    sent = resource("Patient", identifier={"type": [CODING]}, name=[{"period": [{"start": ["2020"]}]}])
    ready = prepare(sent, "1", base=BASE)
    assert ready.tolerances == ("object-for-list", "list-for-object")
    assert ready.kept == ()


def test_a_bundle_stays_as_it_came() -> None:
    bundle = resource("Bundle", type="collection", entry={"resource": resource("Patient", name={})})
    assert straightened(bundle) is bundle


def test_every_deviation_is_documented() -> None:
    assert MENDABLE <= MENDED
    assert {one.name for one in TOLERANCES}.isdisjoint(KEPT)
    assert {*MENDED} <= {*KEPT, *(one.name for one in TOLERANCES)}


def test_every_type_that_is_kept_has_its_definition() -> None:
    assert {*RESOURCE_TYPES, *TYPES} <= definitions().keys()
    assert definitions()["Extension"].elements["valueHumanName"].definition is definitions()["HumanName"]


_NAMES = st.sampled_from(
    "resourceType id meta text status code subject performer issued effectivePeriod contained identifier"
    " extension _status given _given name start end div reference coding system value url".split()
) | st.just(SENTINEL)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([SENTINEL, "Patient", "2020", "", "Patient/1"])
)
_ANY = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["Patient", "Observation", "Bundle"]), st.dictionaries(_NAMES, _ANY, max_size=6))
def test_whatever_comes_is_looked_at_and_never_quoted(type: str, elements: dict[str, Any]) -> None:
    sent = {**elements, "resourceType": type}
    looked = look(sent)
    assert SENTINEL not in str(looked.issues).replace(f".{SENTINEL}", "")
    straight = straightened(sent)
    assert straightened(straight) == straight
    done = attempt(lambda: prepare(sent, "1", base=BASE, companion=True))
    assert not isinstance(done, ServiceError) or done.issues


def test_what_is_deep_ends() -> None:
    deep: Any = {"url": "urn:x", "valueCode": "x"}
    for _ in range(1_000):
        deep = {"url": "urn:x", "extension": [deep]}
    look(resource("Patient", extension=[deep]))
    straightened(resource("Patient", extension=[deep]))
