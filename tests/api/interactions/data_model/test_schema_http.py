"""The shape of messages is there for whoever builds one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.data_model import results_new

if TYPE_CHECKING:
    from tests.support.service import Service


async def test_the_schema_names_every_field_of_a_message_and_needs_no_token(service: Service) -> None:
    answer = await replace(service, headers={}).get(str(service.client.make_url("/data-model/schema")))
    assert answer.status == 200, answer.text
    shapes = answer.body["$defs"]
    assert answer.body["anyOf"][0] == {"$ref": "#/$defs/ResultsNew"}
    message = results_new()
    for name, told in (
        ("ResultsNew", message),
        ("Meta", message["Meta"]),
        ("Patient", message["Patient"]),
        ("Demographics", message["Patient"]["Demographics"]),
        ("Visit", message["Visit"]),
        ("Order", message["Orders"][0]),
        ("Result", message["Orders"][0]["Results"][0]),
    ):
        assert told.keys() <= shapes[name]["properties"].keys(), name
