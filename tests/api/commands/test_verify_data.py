"""`dod verify-data`: nothing is wrong with what was stored; whatever is changed behind its back is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from bson import Binary

from api.commands.verify_data import verify_tenants
from api.http.app_keys import STORES
from store.errors import StartupError
from store.mongo.indexes import CHUNKS, FILES, HISTORY, RESOURCES
from tests.support.fhir import identified, message, patient, refers, report
from tests.support.service import DATABASE

if TYPE_CHECKING:
    from pathlib import Path

    from store.mongo.driver.client import Client, Database
    from tests.support.service import Service

DOCUMENT = {"contentType": "application/pdf", "data": "QUJD" * 60_000}


class Verified(NamedTuple):
    faults: int
    told: dict[str, Any]
    lines: list[str]

    @property
    def only(self) -> dict[str, Any]:
        [found] = self.told.values()
        return dict(found)


Verify = "Callable[..., Coroutine[None, None, Verified]]"


@pytest.fixture
async def filled(service: Service) -> Service:
    """A tenant with versions, a message, contained resources, files, a tombstone."""
    tenant = await service.new_tenant()
    inside = {"resourceType": "Patient", "id": "inner", "name": [{"family": "Made-Up"}]}
    contained = {**report("r2", patient=None, contained=[inside]), "subject": refers("#inner")}
    await tenant.load(
        patient("p1", identified("urn:mr", "1")),
        report("r1", patient="p1"),
        report("r1", patient="p1", conclusion="1.00"),
        contained,
        report("r3", patient="p1", presentedForm=[DOCUMENT]),
        report("r4", patient="p1"),
    )
    told = await tenant.request("POST", "$process-message", message(report("m1"), patient("p1")))
    assert told.status == 200, told.text
    assert (await tenant.delete("DiagnosticReport/r4")).status in (200, 204)
    return tenant


async def verified(service: Service, progress: Path | None = None, batch: int = 3) -> Verified:
    said: list[str] = []
    lines: list[str] = []
    faults = await verify_tenants(
        service._app[STORES],
        tenant=service.tenant,
        origin=str(service.client.make_url("/")).rstrip("/"),
        batch=batch,
        progress=progress,
        as_json=True,
        say=said.append,
        warn=lines.append,
    )
    return Verified(faults, json.loads("\n".join(said)), lines)


async def test_nothing_is_wrong_with_what_was_stored(filled: Service) -> None:
    found = await verified(filled)
    assert (found.faults, found.lines) == (0, [])
    assert found.only["not_compared"] == 0
    assert found.only["files"] == 1
    assert found.only["current"] >= 5
    assert found.only["past"] >= 2
    assert (await verified(filled, batch=100)).only == found.only


CHANGES: dict[str, tuple[str, dict[str, Any], Any, str]] = {
    "a letter of the bytes": (RESOURCES, {"id": "r1"}, "raw", "not what its digest says"),
    "bytes of a past version": (HISTORY, {"id": "r1"}, "raw", "not what its digest says"),
    "bytes that are gone": (RESOURCES, {"id": "r1"}, {"$unset": {"raw": 1}}, "its bytes are no JSON"),
    "past bytes that are gone": (HISTORY, {"id": "r1"}, {"$unset": {"raw": 1}}, "its bytes are no JSON"),
    "an index entry that is gone": (RESOURCES, {"id": "r2"}, {"$pop": {"keys": 1}}, "its index is not"),
    "a date": (RESOURCES, {"id": "r1"}, {"$set": {"when.lo": 1}}, "its index is not"),
    "what is contained": (RESOURCES, {"id": "r2"}, {"$unset": {"inside": 1}}, "its index is not"),
    "the version": (RESOURCES, {"id": "r1"}, {"$set": {"version": 9}}, "another type, id or version"),
    "a piece of a file": (CHUNKS, {}, {"$set": {"data": Binary(b"x")}}, "the file is incomplete"),
    "the hash of a file": (FILES, {}, {"$set": {"sha1": b"x"}}, "not what its hash says"),
}


async def test_whatever_is_changed_is_told(filled: Service, mongo_client: Client) -> None:
    database: Database = mongo_client[DATABASE]
    before = (await verified(filled)).only["fingerprint"]
    for name, (collection, which, change, why) in CHANGES.items():
        wanted = {"tenant": str(filled.tenant), **which}
        original = await database[collection].find_one(wanted)
        assert original is not None, name
        update = change
        if change == "raw":
            update = {"$set": {"raw": original["raw"].replace(b"final", b"FINAL").replace(b"1.00", b"1.01")}}
        await database[collection].update_one({"_id": original["_id"]}, update)
        found = await verified(filled)
        assert found.faults >= 1, name
        assert any(why in line for line in found.lines), (name, found.lines)
        await database[collection].replace_one({"_id": original["_id"]}, original)
    assert (await verified(filled)).only["fingerprint"] == before


async def test_a_run_that_was_broken_off_goes_on(
    filled: Service, mongo_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, file = await verified(filled), tmp_path / "progress.json"
    store = filled._app[STORES].verifying
    past = store.past

    async def broken(*_: object, **__: object) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "past", broken)
    with pytest.raises(KeyboardInterrupt):
        await verified(filled, file, batch=1)
    assert (
        json.loads(file.read_text())["tenants"][str(filled.tenant)]["counts"]["current"]
        == (whole.only["current"])
    )
    monkeypatch.setattr(store, "past", past)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (await verified(filled, file)).only == whole.only
    assert not file.exists()
    one = {"tenant": str(filled.tenant), "raw": {"$exists": True}}
    await mongo_client[DATABASE][RESOURCES].update_one(one, {"$set": {"digest": Binary(b"another")}})
    assert (await verified(filled, file)).faults == 1, (
        "what was looked at in an earlier run is looked at again"
    )
    other = '{"of": "dod reindex", "tenants": {}}'
    odd = '{"of": "dod verify-data", "tenants": {"a": {"nothing": 1}}}'
    for wrong in ("[]", '{"a": 1}', odd, "{", other):
        file.write_text(wrong)
        with pytest.raises(StartupError):
            await verified(filled, file)
