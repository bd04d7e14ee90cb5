"""The JSON of a request: weighed, and parsed where it stops nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.http.admission import ROOM
from ingest.http.app_keys import INGEST_SETTINGS, WORKSHOP, asker_of
from ingest.http.body import body_of, let_go
from ingest.http.workshop import Job
from ingest.pipeline.budget import LIGHT_BYTES, check_body, check_resources, weigh
from ingest.pipeline.decode import decode_any, object_of_body
from ingest.work import at_once
from store.errors import ServiceError

if TYPE_CHECKING:
    from aiohttp import web

    from ingest.pipeline.budget import Weight
    from ingest.settings import IngestSettings
    from ingest.work import Work
    from store.fhir.datatypes import Json, JsonObject

EXACT_ELEMENTS: Final = 20_000
"""Values past which the fast parser is not tried: it keeps the interpreter to itself until it is through."""


class Parsed(NamedTuple):
    """Value that a body holds, and how to go on with it."""

    json: Json
    work: Work

    @property
    def resource(self) -> JsonObject:
        """The JSON object that it must be. Raises ServiceError `incorrect`."""
        return object_of_body(self.json)


async def parsed(request: web.Request) -> Parsed:
    """The body of a request as JSON. Raises ServiceError, also for more values than there may be.

    Such a body becomes no dead letter: it could not be replayed.
    """
    body, settings = await body_of(request), request.app[INGEST_SETTINGS]
    tenant = asker_of(request).tenant
    job: Work = Job(request.app[WORKSHOP], tenant) if len(body) > LIGHT_BYTES else at_once
    try:
        weight = await job(weigh, body, settings.body_elements_max)
        check_body(weight, settings.body_elements_max)
        if weight.is_light:
            return Parsed(decode_any(body), at_once)
        if weight.is_heavy and ROOM in request:
            workshop = request.app[WORKSHOP]
            await workshop.enter_heavy(tenant)
            request[ROOM].at_end = lambda: workshop.leave_heavy(tenant)
        if job is at_once:
            job = Job(request.app[WORKSHOP], tenant)
        return Parsed(await job(_read, body, weight, settings), job)
    except ServiceError as error:
        if any(issue.code == "too-costly" for issue in error.issues):
            let_go(request)
        raise


def _read(body: bytearray, weight: Weight, settings: IngestSettings) -> Json:
    """The JSON, if no resource in it is too large."""
    json = decode_any(body, is_large=weight.elements > EXACT_ELEMENTS)
    if isinstance(json, dict):
        check_resources(json, weight, settings.resource_elements_max)
    return json
