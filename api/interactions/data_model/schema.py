"""`GET /data-model/schema`: the shape of the messages that are taken, as JSON Schema. It needs no token."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web
from pydantic.json_schema import models_json_schema

from ingest.data_model.models import ResultsNew
from ingest.data_model.queries import PatientQuery, ResultsQuery

if TYPE_CHECKING:
    from pydantic import BaseModel

PATH: Final = "/data-model/schema"
_MESSAGES: Final[tuple[type[BaseModel], ...]] = (ResultsNew, ResultsQuery, PatientQuery)


@cache
def document() -> bytes:
    """The schema as JSON bytes: any of the messages."""
    _, definitions = models_json_schema([(one, "validation") for one in _MESSAGES])
    any_of = [{"$ref": f"#/$defs/{one.__name__}"} for one in _MESSAGES]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return orjson.dumps({"$schema": dialect, "title": "Data Model", **definitions, "anyOf": any_of})


async def schema(_: web.Request) -> web.StreamResponse:
    """GET /data-model/schema."""
    return web.Response(body=document(), content_type="application/schema+json")
