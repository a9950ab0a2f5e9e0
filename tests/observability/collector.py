"""A collector of OpenTelemetry's: takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.gateway.serving import Served


@dataclass(frozen=True)
class Seen:
    """A span as it was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: list[str]
    failed: bool
    seconds: float


class Collector:
    """Listens on `url`."""

    def __init__(self) -> None:
        self._spans: list[Seen] = []
        self._lock = threading.Lock()
        route = Route("/v1/traces", self._take, methods=["POST"])
        self._served = Served(Starlette(routes=[route]), lifespan="off")
        self.url = self._served.url

    @property
    def spans(self) -> list[Seen]:
        """All that came so far."""
        with self._lock:
            return list(self._spans)

    def trace(self, trace_id: str) -> dict[str, Seen]:
        """A trace's spans by service and name, without `tunesmith-`."""
        return {
            f"{span.service.removeprefix('tunesmith-')}: {span.name}": span
            for span in self.spans
            if span.trace_id == trace_id
        }

    def stop(self) -> None:
        """Listen no more."""
        self._served.stop()

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in sent.resource_spans:
                service = next(
                    item.value.string_value
                    for item in resource.resource.attributes
                    if item.key == "service.name"
                )
                for scope in resource.scope_spans:
                    self._spans += [_seen(service, span) for span in scope.spans]
        return Response(
            ExportTraceServiceResponse().SerializeToString(),
            media_type="application/x-protobuf",
        )


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={
            item.key: getattr(item.value, item.value.WhichOneof("value"))
            for item in span.attributes
        },
        events=[event.name for event in span.events],
        failed=span.status.code == 2,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )
