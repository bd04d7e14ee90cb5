"""A scope with a query: by no road does a client see what is outside of it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from api.interactions import history
from tests.support.fhir import MRN, batch, coded, identified, patient, refers, report, resource

if TYPE_CHECKING:
    from tests.support.service import Json, Service

KIND = "http://terminology.hl7.org/CodeSystem/observation-category"
LAB = "system/Observation.rs?category=laboratory"
OUTSIDE = "OUTSIDE-4711"
"""Stands in everything that must not be seen."""
SCOPES = (
    LAB,
    "system/DiagnosticReport.rs?category=LAB",
    "system/Patient.rs?identifier=urn:example:mrn|m1",
    "system/Specimen.rs",
)


def observation(id: str, category: str, of: str = "p1", **more: Any) -> Json:
    return resource(
        "Observation",
        id,
        status="final",
        category=[coded(category, KIND)],
        code=coded("1-8"),
        subject=refers(f"Patient/{of}"),
        **more,
    )


async def filled(service: Service) -> Service:
    """Observations and reports of two kinds, documents, versions that went in and out of the scope."""
    document = [{"contentType": "text/plain", "data": b64encode(OUTSIDE.encode() * 10_000).decode()}]
    note: dict[str, Any] = {"note": [{"text": OUTSIDE}]}
    await service.load(
        patient("p1", identified(MRN, "m1")),
        patient("p2", identified(MRN, "m2"), name=[{"family": OUTSIDE}]),
        observation("lab", "laboratory"),
        observation("vital", "vital-signs", **note),
        observation("left", "laboratory", valueString="seen"),
        observation("left", "vital-signs", **note),
        observation("came", "vital-signs", **note),
        observation("came", "laboratory", valueString="seen"),
        observation("gone", "vital-signs", **note),
        observation("of-lab", "laboratory", hasMember=[refers("Observation/vital")]),
        resource("Specimen", "s1", subject=refers("Patient/p1")),
        report(
            "r1",
            category=[coded("LAB", None)],
            result=[refers("Observation/lab"), refers("Observation/vital"), refers("Observation/left")],
            specimen=[refers("Specimen/s1")],
        ),
        report(
            "r2",
            category=[coded("RAD", None)],
            result=[refers("Observation/vital"), refers("Observation/lab")],
            presentedForm=document,
            conclusion=OUTSIDE,
        ),
        report("r3", "p2", category=[coded("LAB", None)]),
    )
    assert (await service.delete("Observation/gone")).status == 204
    return await service.with_token(scopes=SCOPES)


@pytest.fixture
async def narrow(service: Service) -> Service:
    return await filled(service)


SEARCHES = {
    "Observation?patient=p1": ["came", "lab", "of-lab"],
    "Observation?_id=lab,vital,left": ["lab"],
    "Observation?_id=vital": [],
    "Observation?patient=p1&category=vital-signs": [],
    "Observation?patient=p1&category:not=laboratory": [],
    "Observation?patient=p1&category=vital-signs,laboratory": ["came", "lab", "of-lab"],
    "Observation?patient=p1&_content=outside": [],
    "Observation?patient=p1&code=1-8": ["came", "lab", "of-lab"],
    "Observation?patient.identifier=urn:example:mrn|m1": ["came", "lab", "of-lab"],
    "Observation?patient=p1&has-member.code=1-8": [],
    "Observation?patient=p1&has-member:Observation.category=vital-signs": [],
    "Observation?patient=p1&_has:DiagnosticReport:result:status=final": ["lab"],
    "Observation?patient=p1&_has:DiagnosticReport:result:category=RAD": [],
    "Observation?patient=p1&_has:Observation:has-member:code=1-8": [],
    "Observation?patient=p1&_sort=code": ["came", "lab", "of-lab"],
    "Patient/p1/Observation": ["came", "lab", "of-lab"],
    "DiagnosticReport?patient=p1": ["r1"],
    "DiagnosticReport?patient=p1&result.category=vital-signs": [],
    "DiagnosticReport?patient=p1&result.category=laboratory": ["r1"],
    "DiagnosticReport?patient=p1&result:Observation.code=1-8": ["r1"],
    "DiagnosticReport?patient=p1&result.has-member.code=1-8": [],
    "DiagnosticReport?patient=p2&patient.name=outside": [],
    "DiagnosticReport?patient=p2": ["r3"],
    "Patient?_id=p1,p2": ["p1"],
    "Patient?family=outside&birthdate=2000-01-01": [],
    "Specimen?patient=p1": ["s1"],
    "Specimen?patient=p1&_has:DiagnosticReport:specimen:result.category=vital-signs": [],
    "Specimen?patient=p1&_has:DiagnosticReport:specimen:result.category=laboratory": ["s1"],
}
"""Searches, with the ids of the matches."""
INCLUDES = {
    "DiagnosticReport?_id=r1&_include=DiagnosticReport:result": ["lab"],
    "DiagnosticReport?_id=r1&_include=*": ["lab", "p1", "s1"],
    "DiagnosticReport?_id=r3&_include=DiagnosticReport:subject": [],
    "Observation?_id=of-lab&_include=Observation:has-member": [],
    "Observation?_id=of-lab&_include:iterate=Observation:has-member": [],
    "Observation?_id=lab&_revinclude=DiagnosticReport:result": ["r1"],
    "Specimen?_id=s1&_revinclude=DiagnosticReport:specimen&_include:iterate=DiagnosticReport:result": [
        "lab",
        "r1",
    ],
    "Patient?_id=p1&_revinclude=Observation:subject": ["came", "lab", "of-lab"],
    "Patient?_id=p1&_revinclude=DiagnosticReport:patient": ["r1"],
}
"""Searches, with the ids of what they bring along."""


async def test_every_search(narrow: Service) -> None:
    for path, expected in SEARCHES.items():
        answer = await narrow.get(path)
        assert answer.status == 200, (path, answer.text)
        assert sorted(answer.ids) == expected, path
        assert OUTSIDE not in answer.text
        assert answer.body["total"] == len(expected), path
    for path, expected in INCLUDES.items():
        answer = await narrow.get(path)
        assert answer.status == 200, (path, answer.text)
        included = [
            one["resource"]["id"] for one in answer.body["entry"] if one["search"]["mode"] == "include"
        ]
        assert sorted(included) == expected, path
        assert OUTSIDE not in answer.text


async def test_counts_pages_and_forms(narrow: Service) -> None:
    assert (await narrow.get("Observation?patient=p1&_summary=count")).body["total"] == 3
    first = await narrow.search("patient=p1&_count=1&_total=accurate", type="Observation")
    assert first.body["total"] == 3
    pages = await narrow.pages(first)
    assert [one for page in pages for one in page.ids] == ["of-lab", "lab", "came"]
    assert (await narrow.post_search("patient=p1", type="Observation")).ids == ["of-lab", "lab", "came"]
    subset = await narrow.get("Observation?patient=p1&_elements=note&_summary=data")
    assert OUTSIDE not in subset.text


async def test_a_page_link_is_bound_to_what_its_first_reader_may_see(narrow: Service) -> None:
    wide = await narrow.with_token(scopes=["system/*.rs"])
    first = await wide.search("patient=p1&_count=1&_total=accurate", type="Observation")
    assert first.body["total"] == 5
    assert (await narrow.get(first.links["next"])).status == 404
    own = (await narrow.search("patient=p1&_count=1", type="Observation")).links["next"]
    same = await narrow.with_token(scopes=SCOPES)
    assert (await same.get(own)).ids == ["lab"]
    assert (await wide.get(own)).status == 404


async def test_reads_versions_and_histories(narrow: Service) -> None:
    for path, status in {
        "Observation/lab": 200,
        "Observation/vital": 404,
        "Observation/left": 404,
        "Observation/came": 200,
        "Observation/gone": 404,
        "Observation/never": 404,
        "Observation/left/_history/1": 200,
        "Observation/left/_history/2": 404,
        "Observation/came/_history/1": 404,
        "Observation/came/_history/2": 200,
        "Observation/gone/_history/1": 404,
        "Observation/gone/_history/2": 404,
        "Observation/gone/_history": 404,
        "Observation/vital/_history": 404,
        "Observation/never/_history": 404,
        "DiagnosticReport/r1": 200,
        "DiagnosticReport/r2": 404,
        "Patient/p1": 200,
        "Patient/p2": 404,
    }.items():
        answer = await narrow.get(path)
        assert answer.status == status, path
        assert OUTSIDE not in answer.text
    never = (await narrow.get("Observation/never")).text
    for path in ("vital", "left", "gone", "vital/_history", "came/_history/1"):
        assert (await narrow.get(f"Observation/{path}")).text == never, path
    for name in ("left", "came"):
        told = await narrow.get(f"Observation/{name}/_history")
        [entry] = told.body["entry"]
        assert entry["resource"]["valueString"] == "seen"
        assert "total" not in told.body
    assert (await narrow.get("Observation/_history")).status == 403
    editor = await narrow.with_token(scopes=[*SCOPES, "system/Observation.u"])
    whole = await editor.get("Observation/_history")
    assert OUTSIDE not in whole.text
    assert sorted(e["resource"]["id"] for e in whole.body["entry"]) == ["came", "lab", "left", "of-lab"]


@pytest.mark.parametrize("together", [1, 2, 50])
async def test_a_small_page_of_a_history_tells_no_more_than_a_large_one(
    narrow: Service, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LOOKED_AT", together)
    never = (await narrow.get("Observation/never/_history")).text
    for name in ("vital", "gone", "never"):
        for query in ("_count=0", "_count=1", "_since=2020-01-01T00:00:00Z&_count=1"):
            answer = await narrow.get(f"Observation/{name}/_history?{query}")
            assert (answer.status, answer.text) == (404, never), (name, query)
    for name in ("left", "came"):
        assert "entry" not in (await narrow.get(f"Observation/{name}/_history?_count=0")).body
        pages = await narrow.pages(await narrow.get(f"Observation/{name}/_history?_count=1"))
        [entry] = [one for page in pages for one in page.body.get("entry", [])]
        assert entry["resource"]["valueString"] == "seen"
        assert "entry" in pages[0].body
    editor = await narrow.with_token(scopes=["system/*.cruds"])
    for text in ("a", "b", "c"):
        await editor.load(observation("came", "laboratory", valueString=text))
    pages = await narrow.pages(await narrow.get("Observation/came/_history?_count=1"))
    told = [one["resource"]["valueString"] for page in pages for one in page.body.get("entry", [])]
    assert told == ["c", "b", "a", "seen"]


async def test_everything_about_a_patient(narrow: Service) -> None:
    answer = await narrow.get("Patient/p1/$everything")
    assert answer.status == 200
    assert OUTSIDE not in answer.text
    ids = {entry["resource"]["id"] for entry in answer.body["entry"]}
    assert {"p1", "r1", "lab", "came", "of-lab", "s1"} <= ids
    assert not ids & {"vital", "left", "r2", "gone"}
    assert (await narrow.get("Patient/p2/$everything")).status == 404
    wide = await narrow.with_token(scopes=["system/*.rs"])
    link = (await wide.get("Patient/p1/$everything?_count=1")).links["next"]
    assert (await narrow.get(link)).status == 404


async def test_documents(narrow: Service) -> None:
    wide = await narrow.with_token(scopes=["system/*.rs"])
    url = (await wide.get("DiagnosticReport/r2")).body["presentedForm"][0]["url"]
    assert (await wide.get(url)).status == 200
    for headers in ({}, {"accept": "application/fhir+json"}, {"range": "bytes=0-10"}):
        answer = await narrow.get(url, **headers)
        assert (answer.status, OUTSIDE in answer.text) == (403, False)
    radiology = await narrow.with_token(scopes=["system/DiagnosticReport.rs?category=RAD"])
    assert (await radiology.get(url)).status == 200
    assert (await narrow.get("Binary?_id=1")).status == 403


async def test_entries_of_bundles(narrow: Service) -> None:
    asked = [*SEARCHES, "Observation/vital", "Observation/left/_history/2", "Observation/gone", "Patient/p2"]
    answer = await narrow.request(
        "POST", "", batch(*(("GET", path, None) for path in asked if "Patient/p1/" not in path))
    )
    assert answer.status == 200
    assert OUTSIDE not in answer.text
    seen = [one["response"]["status"][:3] for one in answer.body["entry"]]
    assert seen[-4:] == ["404"] * 4
    assert set(seen[:-4]) == {"200"}
    for kind in ("batch", "transaction"):
        for path in ("Observation/vital", "Observation?patient=p1", "Observation?_id=vital"):
            bundle = {**batch(("GET", path, None)), "type": kind}
            answer = await narrow.request("POST", "", bundle)
            assert OUTSIDE not in answer.text
            assert '"vital"' not in answer.text.replace("Observation/vital", "")


async def test_writes_tell_nothing_of_what_is_outside(narrow: Service) -> None:
    """Conditions are for whole types; what a write answers with is shown to who may read it."""
    writer = await narrow.with_token(scopes=[*SCOPES, "system/Observation.cud", "system/Patient.cu"])
    for method, path in (("PUT", "Observation?code=1-8"), ("DELETE", "Observation?category=vital-signs")):
        body = observation("x", "laboratory") if method == "PUT" else None
        assert (await writer.request(method, path, body)).status == 403
    conditional = {"If-None-Exist": "code=1-8&category=vital-signs"}
    refused = await writer.request("POST", "Observation", observation("x", "laboratory"), headers=conditional)
    assert refused.status == 403
    known = {"If-None-Exist": f"identifier={MRN}|m2", "Prefer": "return=representation"}
    found = await writer.request("POST", "Patient", patient("x"), headers=known)
    assert (found.status, OUTSIDE in found.text) == (200, False)
    changes = json.dumps([{"op": "add", "path": "/valueString", "value": "new"}])
    patched = await writer.request(
        "PATCH",
        "Observation/vital",
        data=changes,
        content_type="application/json-patch+json",
        headers={"Prefer": "return=representation"},
    )
    assert (patched.status, OUTSIDE in patched.text) == (200, False)
    probe = json.dumps([{"op": "test", "path": "/note/0/text", "value": OUTSIDE}])
    tested = await writer.request(
        "PATCH", "Observation/vital", data=probe, content_type="application/json-patch+json"
    )
    assert tested.status == 403


CONSTRAINTS = (
    "Observation?category=laboratory",
    "Observation?category=laboratory,vital-signs",
    f"Observation?category={KIND}|vital-signs",
    f"Observation?category={KIND}|",
    "Observation?category:not=laboratory",
    "Observation?code=http://loinc.org|1-8&category=laboratory",
    "Observation?has-member=Observation/vital",
    "Observation?has-member=vital",
    "Observation?subject=Patient/p1",
    "Observation?_id=lab,vital",
    "Observation?status=final,amended",
    "Observation?status=registered",
    "DiagnosticReport?category=LAB",
    "DiagnosticReport?result=Observation/left",
    "DiagnosticReport?specimen=s1&status=final",
    f"Patient?identifier={MRN}|m1",
    f"Patient?identifier={MRN}|",
    "Patient?identifier=m2",
    "Patient?identifier:not=m2",
    "Specimen?subject:Patient=p1",
)


async def test_one_resource_is_tested_as_the_database_tests_it(narrow: Service) -> None:
    wide = await narrow.with_token(scopes=["system/*.rs"])
    everything = {
        "Observation": ["lab", "vital", "left", "came", "of-lab"],
        "DiagnosticReport": ["r1", "r2", "r3"],
        "Patient": ["p1", "p2"],
        "Specimen": ["s1"],
    }
    for constraint in CONSTRAINTS:
        kind, _, query = constraint.partition("?")
        scoped = await narrow.with_token(scopes=[f"system/{kind}.rs?{query}"])
        ids = everything[kind]
        expected = sorted((await wide.get(f"{kind}?_id={','.join(ids)}&{query}")).ids)
        assert sorted((await scoped.get(f"{kind}?_id={','.join(ids)}")).ids) == expected, constraint
        read = [one for one in ids if (await scoped.get(f"{kind}/{one}")).status == 200]
        assert sorted(read) == expected, constraint


async def test_two_parts_add_up_and_each_letter_has_its_own(narrow: Service) -> None:
    both = await narrow.with_token(scopes=[LAB, "system/Observation.rs?category=vital-signs"])
    assert (await both.search("patient=p1", type="Observation")).body["total"] == 5
    apart = await narrow.with_token(
        scopes=["system/Observation.r?category=laboratory", "system/Observation.s"]
    )
    assert (await apart.search("patient=p1", type="Observation")).body["total"] == 5
    assert (await apart.get("Observation/vital")).status == 404
    crossed = await narrow.with_token(
        scopes=[
            "system/Observation.r?category=laboratory",
            "system/Observation.s",
            "system/DiagnosticReport.rs",
        ]
    )
    found = await crossed.get("DiagnosticReport?_id=r1&_include=DiagnosticReport:result")
    included = [one["resource"]["id"] for one in found.body["entry"] if one["search"]["mode"] == "include"]
    assert included == ["lab"]
