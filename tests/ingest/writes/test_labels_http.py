"""Tags, security labels and profiles stay when an update leaves them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.fhir import MRN, Json, identified, report

if TYPE_CHECKING:
    from tests.support.service import Service

PATH = "DiagnosticReport/r1"
TAG: Json = {"system": "urn:made-up:tags", "code": "a"}
LABEL: Json = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
META: Json = {"tag": [TAG], "security": [LABEL], "profile": ["urn:made-up:profile"]}
OTHER: Json = {"system": "urn:made-up:tags", "code": "b"}


async def meta(service: Service) -> Any:
    stored = (await service.get(PATH)).body["meta"]
    return {name: stored[name] for name in META if name in stored}


async def updated(service: Service, how: str, body: Json) -> int:
    if how == "PUT":
        return (await service.put(body)).status
    if how == "condition":
        path = f"DiagnosticReport?identifier={MRN}%7C1"
        return (await service.request("PUT", path, body)).status
    entry = {"resource": body, "request": {"method": "PUT", "url": PATH}}
    answer = await service.request("POST", "", {"resourceType": "Bundle", "type": how, "entry": [entry]})
    return int(answer.body["entry"][0]["response"]["status"][:3]) if answer.status == 200 else answer.status


async def test_an_update_keeps_the_labels_that_it_leaves_out(service: Service) -> None:
    numbered = [identified(MRN, "1")]
    plain = report("r1", identifier=numbered)
    for how in ("PUT", "condition", "batch", "transaction"):
        await service.delete(PATH)
        await service.load({**plain, "meta": META})
        assert await updated(service, how, {**plain, "status": "amended"}) == 200, how
        assert await meta(service) == META, how
        found = await service.search(
            "patient=Patient/p1&_tag=urn:made-up:tags|a&_profile=urn:made-up:profile"
        )
        assert found.ids == ["r1"]
        version = (await service.get(PATH)).body["meta"]["versionId"]
        assert await updated(service, how, {**plain, "status": "amended"}) == 200
        assert (await service.get(PATH)).body["meta"]["versionId"] == version, "identical: no new version"
        assert await updated(service, how, {**plain, "meta": {"tag": [OTHER]}}) == 200
        assert await meta(service) == {**META, "tag": [OTHER]}, how


async def test_a_patch_takes_labels_away(service: Service) -> None:
    await service.load({**report("r1"), "meta": META})
    for change, left in (
        ([{"op": "remove", "path": "/meta/tag"}], {"security", "profile"}),
        ([{"op": "remove", "path": "/meta/security"}], {"profile"}),
    ):
        media = "application/json-patch+json"
        assert (await service.request("PATCH", PATH, change, content_type=media)).status == 200
        assert (await meta(service)).keys() == left


async def test_what_was_deleted_has_no_labels_to_keep(service: Service) -> None:
    await service.load({**report("r1"), "meta": META})
    await service.delete(PATH)
    assert (await service.put(report("r1"))).status == 201
    assert await meta(service) == {}


async def test_if_match_holds_all_the_same(service: Service) -> None:
    await service.load({**report("r1"), "meta": META})
    assert (await service.put(report("r1", status="amended"), if_match='W/"9"')).status == 412
    assert (await service.put(report("r1", status="amended"), if_match='W/"1"')).status == 200
    assert await meta(service) == META
