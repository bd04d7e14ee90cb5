"""Traces of requests, by OpenTelemetry: route templates, parts and the shapes of queries, no values.

The SDK is the extra `traces`. Spans go to a collector by OTLP over HTTP, from a thread, in batches; a
collector that is away costs them and nothing else. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and
`OTEL_EXPORTER_OTLP_HEADERS` hold.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs
from typing_extensions import override

from api.version import VERSION
from store.errors import StartupError
from store.spans import Spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

PATH: Final = "/v1/traces"
EXPORT_SECONDS: Final = 5.0
"""Longest wait for the collector, the end of the service included."""
OTHER: Final = "_OTHER"
"""Method of a request whose method is not one of HTTP's, in OpenTelemetry's words."""
_NEEDED: Final = ("sdk.trace", "exporter.otlp.proto.http.trace_exporter")
_ERROR: Final = 500
"""Lowest status of an answer that makes a server's span an error."""
MISSING: Final = (
    "DOD_OTLP_ENDPOINT needs OpenTelemetry's SDK: install the extra, `pip install 'data-on-demand[traces]'`."
)


class RequestSpans(Spans):
    """Span of a request, and those of its parts."""

    def __init__(self, tracer: Tracer, span: Span, around: Context) -> None:
        self._tracer = tracer
        self._span = span
        self._around = around

    @property
    def trace_id(self) -> str:
        """Id of the trace, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def parent(self) -> str:
        """The span as the `traceparent` of what another process does for it."""
        return f"00-{self.trace_id}-{self._span.get_span_context().span_id:016x}-01"

    @override
    def spent(self, on: str, seconds: float, said: dict[str, str | int]) -> None:
        now = time.time_ns()
        attributes = {f"dod.{name}": value for name, value in said.items()}
        part = self._tracer.start_span(
            on, self._around, start_time=now - int(seconds * 1e9), attributes=attributes
        )
        part.end(now)

    def end(self, status: int, said: Mapping[str, str | None]) -> None:
        """Say how the request ended; a status of 0: without an answer."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 -- of the extra

        if status:
            self._span.set_attribute("http.response.status_code", status)
        if not status or status >= _ERROR:
            self._span.set_status(StatusCode.ERROR)
        for name, value in said.items():
            if value is not None:
                self._span.set_attribute(name, value)


def is_installed() -> bool:
    """Whether the extra is there that traces need."""
    try:
        return None not in (find_spec(f"opentelemetry.{name}") for name in _NEEDED)
    except ModuleNotFoundError:
        return False


class Traces:
    """The tracer of the service."""

    def __init__(self, endpoint: str, *, share: float) -> None:
        """Raises StartupError when the extra is missing."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 -- of the extra
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415
            from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
                TraceContextTextMapPropagator,
            )
        except ImportError:
            raise StartupError(MISSING) from None
        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create({"service.name": "data-on-demand", "service.version": VERSION}),
            sampler=ParentBasedTraceIdRatio(share),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("data-on-demand", VERSION)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(
        self, method: str, template: str, headers: Mapping[str, str]
    ) -> Iterator[RequestSpans | None]:
        """Span around a request, under its caller's if `traceparent` names one; None: it is not traced."""
        from opentelemetry.context import Context  # noqa: PLC0415 -- of the extra
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        known = method if method in hdrs.METH_ALL else OTHER
        carrier = {"traceparent": headers.get("traceparent", "")}
        attributes = {"http.request.method": known, **({"http.route": template} if template else {})}
        span = self._tracer.start_span(
            f"{known} {template}".rstrip(),
            self._propagator.extract(carrier, Context()),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        if not span.is_recording():
            yield None
            return
        try:
            yield RequestSpans(self._tracer, span, set_span_in_context(span, Context()))
        finally:
            span.end()

    def close(self) -> None:
        """Send what is left, and end the thread. Waits for the collector."""
        self._provider.shutdown()


@asynccontextmanager
async def closed_at_end(traces: Traces) -> AsyncIterator[None]:
    """Context that closes the traces at its end, within a time."""
    try:
        yield
    finally:
        # A daemon: what waits for a collector that is away must not hold up the end of the process.
        closing = Thread(target=traces.close, name="traces-close", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, EXPORT_SECONDS)
