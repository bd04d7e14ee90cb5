"""Traces in a collector: templates, parts and shapes, and nothing that a client sent or found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from api.http.app_keys import REGISTRY
from api.server.traces import Traces
from store.errors import StartupError
from tests.support.collector import Collector, said
from tests.support.fhir import identified, patient, report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = pytest.mark.mongo

SENTINELS = ("SENTINEL4711", "Sentinelsson", "sentinelfinding", "sentinel-id")
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SEARCH = "/fhir/R4/{organization}/{environment}/{type}/_search"


def named(spans: Sequence[Span], name: str) -> Span:
    [found] = [one for one in spans if one.name == name]
    return found


def parts(spans: Sequence[Span], of: Span) -> dict[str, Span]:
    return {one.name: one for one in spans if one.parent_span_id == of.span_id}


async def test_requests_and_their_parts_are_told_without_values(mongodb: str) -> None:
    collector = Collector()
    async with (
        collector as address,
        opened_service(mongodb, otlp_endpoint=address, trace_share=1) as service,
    ):
        await service.load_in_order(
            patient(
                "sentinel-id",
                identifier=[identified("urn:example:mrn", "SENTINEL4711")],
                name=[{"family": "Sentinelsson"}],
            ),
            report("r1", "sentinel-id", conclusion="sentinelfinding"),
        )
        query = "patient.identifier=urn:example:mrn|SENTINEL4711&date=ge2020-01-01"
        answer = await service.request(
            "POST",
            "DiagnosticReport/_search",
            data=query,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "traceparent": f"00-{TRACE}-{PARENT}-01",
                "baggage": "patient=SENTINEL4711",
                "X-Request-Id": "asked-1",
            },
        )
        assert answer.status == 200
        assert (await service.get("Patient/sentinel-id")).status == 200
        assert (await service.get("Patient/SENTINEL4711?_format=Sentinelsson")).status >= 400
        assert (await service.request("PROPFIND", "Patient/sentinel-id")).status >= 400
        tenant = str(service.tenant)
        registry = service._app[REGISTRY]
        exemplars = [
            sample.exemplar.labels["trace_id"]
            for metric in registry.collect()
            for sample in metric.samples
            if sample.exemplar is not None and sample.name == "dod_http_request_duration_seconds_bucket"
        ]
    spans = collector.spans
    assert collector.resource["service.name"] == "data-on-demand"
    for text in SENTINELS:
        assert text.encode() not in collector.raw

    asked = named(spans, f"POST {SEARCH}")
    assert (asked.trace_id.hex(), asked.parent_span_id.hex()) == (TRACE, PARENT)
    told = said(asked)
    assert told["http.response.status_code"] == 200
    assert (told["http.request.method"], told["http.route"]) == ("POST", SEARCH)
    assert (told["dod.request_id"], told["dod.tenant"]) == ("asked-1", tenant)
    assert TRACE in exemplars

    of_search = parts(spans, asked)
    assert {"parse", "store", "find", "render"} <= of_search.keys()
    assert str(said(of_search["find"])["dod.shape"]).startswith("DiagnosticReport")
    for one in of_search.values():
        assert one.start_time_unix_nano <= one.end_time_unix_nano <= asked.end_time_unix_nano

    put = parts(
        spans, next(one for one in spans if one.name.startswith("PUT ") or one.name.startswith("POST "))
    )
    assert {"receive", "parse", "prepare", "commit"} <= put.keys()
    assert any(one.name.startswith("_OTHER") for one in spans)


@pytest.mark.parametrize(
    ("share", "flags", "is_traced"),
    [(1, "00", False), (1, "01", True), (0, "01", True), (0, "00", False), (0, None, False), (1, None, True)],
)
async def test_the_caller_decides_and_else_the_share(
    mongodb: str, share: float, flags: str | None, is_traced: bool
) -> None:
    collector = Collector()
    async with (
        collector as address,
        opened_service(mongodb, otlp_endpoint=address, trace_share=share) as service,
    ):
        headers = {} if flags is None else {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
        await service.request("GET", "metadata", headers=headers)
    assert bool(collector.spans) is is_traced


def test_without_the_extra_a_sentence_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartupError, match="extra"):
        Traces("http://localhost:4318", share=1)


async def test_a_collector_that_is_away_costs_nothing_but_the_spans(
    mongodb: str, unused_tcp_port: int
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    async with opened_service(mongodb, otlp_endpoint=address, trace_share=1) as service:
        assert (await service.get("metadata")).status == 200
