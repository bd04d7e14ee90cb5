"""Notifications as upstream sends them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from api.subscriptions.secrets import Sealed, seal
from store.changes.kinds import Kind
from store.resources.resource_keys import ResourceKey
from store.subscriptions.records import Form, Status
from tests.api.subscriptions.sending.told import status, told
from tests.support.fhir import patient, refers, report, resource
from tests.support.subscriptions import LAB, NOW, ROOT, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

# --- upstream's messages


async def test_upstreams_light_message_has_identifiers_time_and_references(
    database: Database,
) -> None:
    """The destination is verified first, by its challenge."""
    sealed = seal(ROOT, f"{LAB}/up", Sealed((("verification-token", "t0ken"),)))
    light = kept("up", status=Status.REQUESTED, form=Form.LIGHT, sealed=sealed, holder=None, resource=b"")
    async with told(database, light) as (on, at):
        at.answer = lambda _: web.Response(text="something else")
        assert (await on.step("up")).at == NOW + timedelta(seconds=10)
        at.answer = lambda came: (
            web.json_response({"challenge": orjson.loads(came.body)["challenge"]})
            if b"challenge" in came.body
            else web.Response()
        )
        on.clock.move(seconds=10)
        identifier = {"system": "urn:mr", "value": "7"}
        await on.change(patient("p1", identifier, name=[{"family": "Secret"}]), Kind.CREATED)
        await on.change(report("r1", conclusion="secret result"), Kind.CREATED)
        await on.count()
        await on.settle("up")
        assert (await on.get("up")).status is Status.ACTIVE
        assert orjson.loads(at.came[1].body)["verification-token"] == "t0ken"
        message = at.came[-1].json
        assert (message["type"], at.came[-1].headers["verification-token"]) == ("message", "t0ken")
        header, person = (entry["resource"] for entry in message["entry"])
        assert header["resourceType"] == "MessageHeader"
        assert header["eventUri"] == "urn:data-on-demand:event:DiagnosticReport-created"
        references = [one["reference"].rpartition("Production/")[2] for one in header["focus"]]
        assert references == ["DiagnosticReport/r1", "Patient/p1"]
        assert person == {"resourceType": "Patient", "id": "p1", "identifier": [identifier]}
        assert b"ecret" not in at.came[-1].body
        assert message["timestamp"] == "2026-11-22T12:00:10.000Z"


async def test_a_message_has_one_name_in_each_attempt_and_another_events_has_another(
    database: Database,
) -> None:
    """Numbers come again behind a restore: destinations know a message by its ids alone."""
    light = kept("up", form=Form.LIGHT, holder=None, resource=b"")
    async with told(database, light) as (on, at):
        for _ in range(2):
            at.answer = status(500)
            await on.change(report("r1", conclusion=str(on.clock.now)), Kind.UPDATED)
            await on.count()
            await on.step("up")
            at.answer = status(200)
            on.clock.move(seconds=10)
            await on.settle("up")
            await on.database["outbox"].update_many({}, {"$unset": {"last": "", "delivered": ""}})
            await on.database["outbox"].delete_many({"subscription": f"{LAB}/up"})
        names = [(one.json["id"], one.json["entry"][0]["resource"]["id"]) for one in at.came]
    assert names[0] == names[1] != names[2] == names[3]
    assert len({*names[0], *names[2]}) == 4


async def test_upstreams_detailed_message_has_the_resources(database: Database) -> None:
    detailed = kept("up", form=Form.DETAILED, holder=None, resource=b"")
    async with told(database, detailed) as (on, at):
        await on.change(patient("p1"), Kind.CREATED)
        await on.change(resource("Observation", "o1", status="final", code={"text": "x"}), Kind.CREATED)
        await on.change(report("r1", result=[refers("Observation/o1")]), Kind.CREATED)
        await on.count()
        await on.settle("up")
        [message] = [one.json for one in at.came]
        kinds = [entry["resource"]["resourceType"] for entry in message["entry"]]
        assert kinds == ["MessageHeader", "Patient", "DiagnosticReport", "Observation"]
        await on.resources.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
        on.changes.tell("DiagnosticReport/r1", Kind.DELETED, version=2)
        await on.count()
        await on.settle("up")
        [entry] = at.came[-1].json["entry"]
        assert entry["resource"]["eventUri"].endswith("DiagnosticReport-deleted")
        assert entry["resource"]["focus"][0]["reference"].endswith("DiagnosticReport/r1")


async def test_a_patient_who_performs_is_not_taken_for_the_one_whom_it_is_about(database: Database) -> None:
    """Nor when the other one never came."""
    topic = "urn:data-on-demand:topic:Observation-created"
    detailed = kept("up", form=Form.DETAILED, holder=None, resource=b"", topic=topic)
    async with told(database, detailed) as (on, at):
        for id, number in (("mother", "1"), ("zoe", "2")):
            await on.change(patient(id, {"system": "urn:mr", "value": number}), Kind.CREATED)
        performed = {"status": "final", "code": {"text": "x"}, "performer": [refers("Patient/mother")]}
        for id, about in (("o1", "zoe"), ("o2", "never-came")):
            subject = {"subject": refers(f"Patient/{about}")}
            await on.change(resource("Observation", id, **performed, **subject), Kind.CREATED)
        await on.count()
        await on.settle("up")
        people = [
            [
                one["resource"]["id"]
                for one in came.json["entry"]
                if one["resource"]["resourceType"] == "Patient"
            ]
            for came in at.came
        ]
        assert people == [["zoe"], []]
