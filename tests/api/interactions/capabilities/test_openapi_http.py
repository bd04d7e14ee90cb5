"""`/openapi.json` over HTTP: valid, true, and what schemathesis makes of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from store.search.parameters import TYPES
from store.tenancy import SearchScope
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemathesis.schemas import APIOperation

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "150"))
DRAWN: Final = frozenset({"DiagnosticReport", "Observation", "Patient"})
CHECKS: Final = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


async def described(service: Service) -> Any:
    answer = await service.get("openapi.json")
    assert answer.status == 200
    return answer.body


async def test_it_is_openapi_and_needs_no_token(service: Service) -> None:
    stranger = Service(service.client, service.clock, service.tenant)
    answer = await stranger.get("openapi.json", accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    validate(answer.body)
    assert answer.body["servers"] == [{"url": service.base}]
    again = await stranger.get("openapi.json", if_none_match=answer.headers["ETag"])
    assert (again.status, again.text) == (304, "")


async def test_it_says_what_metadata_says(service: Service) -> None:
    [rest] = (await service.get("metadata")).body["rest"]
    document = await described(service)
    schemas, parameters = document["components"]["schemas"], document["components"]["parameters"]
    assert schemas["Type"]["enum"] == sorted(row["type"] for row in rest["resource"])
    for row in rest["resource"]:
        path = document["paths"].get(f"/{row['type']}", document["paths"]["/{type}"])
        named = {
            parameters[one["$ref"].rpartition("/")[2]]["name"]
            for one in path["get"]["parameters"]
            if "$ref" in one
        }
        assert {one["name"] for one in row["searchParam"]} <= named, row["type"]
        form = document["paths"].get(f"/{row['type']}/_search", document["paths"]["/{type}/_search"])
        [content] = form["post"]["requestBody"]["content"].values()
        assert named >= content["schema"]["properties"].keys() >= {one["name"] for one in row["searchParam"]}


async def test_what_is_of_all_tenants_is_at_the_origin_and_refuses_in_its_own_form(service: Service) -> None:
    document = await described(service)
    origin = str(service.client.make_url("")).rstrip("/")
    at_origin = {
        path: operation
        for path, item in document["paths"].items()
        for operation in item.values()
        if "servers" in operation
    }
    assert at_origin.keys() >= {"/v2/auth/token", "/endpoint", "/query", "/upload", "/data-model/schema"}
    assert all(one["servers"] == [{"url": origin}] for one in at_origin.values())
    token = at_origin["/v2/auth/token"]
    assert token["security"] == []
    [form] = token["requestBody"]["content"].values()
    assert form["schema"]["$ref"].endswith("/TokenRequest")
    refused = document["components"]["responses"]["TokenRefused"]["content"]["application/json"]
    assert token["responses"]["default"]["$ref"].endswith("/TokenRefused")
    assert refused["schema"]["$ref"].endswith("/TokenError")
    for path in ("/endpoint", "/upload", "/$data-model"):
        [operation] = [one for one in document["paths"][path].values() if "requestBody" in one]
        assert operation["responses"]["default"]["$ref"].endswith("/DataModelRefused")


async def test_operations_have_names_of_their_own(service: Service) -> None:
    paths = (await described(service))["paths"]
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("role", "methods"),
    [
        ("all", {"get", "post", "put", "patch", "delete"}),
        ("query", {"get", "post"}),
        ("jobs", {"get", "post"}),
    ],
)
async def test_a_role_describes_what_it_serves(mongodb: str, role: str, methods: set[str]) -> None:
    async with opened_service(mongodb, role=role) as service:
        paths = (await described(service))["paths"]
        assert {method for path in paths.values() for method in path} == methods
        assert ("/{type}" in paths) is (role != "jobs")


# --- schemathesis: its client is synchronous, so the service runs in a thread with a loop of its own


@contextmanager
def beside(uri: str) -> Iterator[tuple[Service, Any]]:
    """A service in a thread, and its description."""
    ready: SimpleQueue[tuple[Service, Any, asyncio.AbstractEventLoop, asyncio.Event] | BaseException] = (
        SimpleQueue()
    )

    async def serve() -> None:
        async with opened_service(uri, search_scope=SearchScope.ANY) as service:
            done = asyncio.Event()
            ready.put((service, await described(service), asyncio.get_running_loop(), done))
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            ready.put(error)
            raise

    thread = Thread(target=run)
    thread.start()
    got = ready.get()
    if isinstance(got, BaseException):
        raise got
    service, document, loop, done = got
    try:
        yield service, document
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


@dataclass(frozen=True, slots=True)
class Live:
    """A service that runs, and what its description says it does."""

    service: Service
    operations: Sequence[APIOperation[Any, Any, Any, Any]]


@pytest.fixture(scope="module")
def live(mongodb: str) -> Iterator[Live]:
    with beside(mongodb) as (service, document):
        # Some types stand for all that are alike: each operation is compiled when it is first drawn.
        alike = {f"/{row.name}" for row in TYPES.values() if row.name not in DRAWN}
        alike |= {f"{path}/_search" for path in alike}
        # No JSON: schemathesis draws such bodies by `random`, which Hypothesis refuses.
        alike |= {"/$hl7v2", "/$upload"}
        paths = {
            path: item
            for path, item in document["paths"].items()
            if path not in alike and not any("servers" in one for one in item.values())
        }
        schema = schemathesis.openapi.from_dict({**document, "paths": paths})
        yield Live(service, [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)])


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_schemathesis_finds_nothing(live: Live, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(live.operations))
    mode = data.draw(st.sampled_from(list(GenerationMode)))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    response = case.call(base_url=live.service.base, headers=dict(live.service.headers))
    case.validate_response(response, checks=CHECKS)
