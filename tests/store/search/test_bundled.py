"""Patients that a Bundle is about: by what it holds and by what it refers to."""

from __future__ import annotations

from typing import Any

import pytest

from store.fhir.elements import walk
from store.search.bundled import PATIENTS, with_patients
from store.search.index import index
from tests.support.fhir import Json, identified, patient, refers, report
from tests.support.reports import BASE

URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"
MRN = identified("urn:mrn", "7")


def bundle(*resources: Any, urls: dict[int, str] | None = None, **more: Any) -> Json:
    entries = [
        {"resource": one, **({"fullUrl": urls[n]} if urls and n in urls else {})}
        for n, one in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": "collection", **more, "entry": entries}


def keys(resource: Json) -> set[str]:
    found = index(resource, "Bundle", base=BASE, resource_id="b")
    assert not found.issues
    return {one for one in found.keys if one.startswith("patient")}


NAMED = {"patient=Patient/p1"}
NUMBERED = {"patient.identifier=7", "patient.identifier=urn:mrn|7"}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(bundle(report()), NAMED, id="a subject"),
        pytest.param(bundle(report(), report("r2")), NAMED, id="the same twice"),
        pytest.param(bundle(report(), report("r2", "p2")), NAMED | {"patient=Patient/p2"}, id="two"),
        pytest.param(bundle(patient("p1")), NAMED, id="a patient"),
        pytest.param(bundle(patient("p1", MRN)), NAMED | NUMBERED, id="with an identifier"),
        pytest.param(
            bundle({"resourceType": "Patient", "identifier": MRN}), NUMBERED, id="an object for a list"
        ),
        pytest.param(
            bundle(
                {"resourceType": "Patient", "active": True},
                report("r", None, subject=refers(URN)),
                urls={0: URN},
            ),
            set(),
            id="nobody knows who",
        ),
        pytest.param(
            bundle(patient("p1", MRN), report("r", None, subject=refers(URN)), urls={0: URN}),
            NAMED | NUMBERED,
            id="referred to within",
        ),
        pytest.param(
            bundle({"resourceType": "Patient"}, urls={0: f"{BASE}/Patient/p1"}), NAMED, id="our own fullUrl"
        ),
        pytest.param(
            bundle({"resourceType": "Patient"}, urls={0: "https://lab.example/Patient/p1"}),
            {"patient=https://lab.example/Patient/p1"},
            id="another server's fullUrl",
        ),
        pytest.param(
            bundle(patient("p1", MRN), urls={0: "https://lab.example/Patient/p1"}),
            {"patient=https://lab.example/Patient/p1"} | NUMBERED,
            id="whose id is not ours",
        ),
        pytest.param(bundle(patient("p1"), urls={0: URN}), NAMED, id="under a urn, its id counts"),
        pytest.param(
            bundle(report("r", None, subject={"identifier": MRN})), NUMBERED, id="an identifier alone"
        ),
        pytest.param(
            bundle(report("r", None, subject={"reference": URN, "identifier": MRN})),
            NUMBERED,
            id="beside a urn",
        ),
        pytest.param(
            bundle(report("r", None, subject={"type": "Group", "identifier": MRN})), set(), id="of a group"
        ),
        pytest.param(bundle(report("r", None, performer=[{"identifier": MRN}])), set(), id="of a performer"),
        pytest.param(
            bundle(report("r", None, subject={"reference": "Group/1", "identifier": MRN})),
            set(),
            id="beside a group",
        ),
        pytest.param(
            bundle(report("r", None, subject={"reference": "Patient/p1", "identifier": MRN})),
            NAMED | NUMBERED,
            id="beside a patient",
        ),
        pytest.param(
            bundle(report("r", None, subject=refers("#c"), contained=[patient("c", MRN)])),
            NUMBERED,
            id="contained, where ids are local",
        ),
        pytest.param(bundle(bundle(report())), NAMED, id="a Bundle in a Bundle"),
        pytest.param(
            bundle({"resourceType": "Provenance", "target": [refers("Patient/p1")]}),
            NAMED,
            id="any reference",
        ),
        pytest.param(bundle(), set(), id="nothing"),
        pytest.param({**bundle(), "entry": "x", PATIENTS: 7}, set(), id="nonsense"),
        pytest.param(
            bundle(patient("p1", {"system": 7, "value": None})), NAMED, id="an identifier of nonsense"
        ),
    ],
)
def test_patients(resource: Json, expected: set[str]) -> None:
    assert keys(resource) == expected


def test_it_is_shown_to_the_index_alone() -> None:
    whole = bundle(report())
    before = repr(whole)
    assert with_patients(whole)[PATIENTS] == [{"reference": "Patient/p1"}]
    assert repr(whole) == before


def test_it_is_no_word_of_the_bundle() -> None:
    whole = bundle(report(subject={"identifier": MRN}))
    found = index(whole, "Bundle", base=BASE, resource_id="b")
    assert found == index(whole, "Bundle", base=BASE, resource_id="b", said=walk(whole).said)
    assert "patient" not in str(found.fields["_content"]).split()


def test_one_nested_deep() -> None:
    nested: Json = report()
    for _ in range(5_000):
        nested = {"resourceType": "Bundle", "entry": [{"resource": nested}]}
    assert with_patients(nested)[PATIENTS] == [{"reference": "Patient/p1"}]
