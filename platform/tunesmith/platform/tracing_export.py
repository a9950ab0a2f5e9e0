"""How spans are chosen and sent. Loaded where tracing is on, and nowhere else."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from tunesmith.platform.tracing import JOBS_PATH

_SEND_SECONDS = 5.0


def exporting_provider(
    endpoint: str, process: str, ratio: float
) -> tuple[TracerProvider, OTLPSpanExporter]:
    """Spans of `process`, and what sends them by OTLP over HTTP to the collector at `endpoint`.

    A collector that is away loses spans, and nothing waits for it.
    """
    resource = Resource.create(
        {
            "service.name": f"tunesmith-{process}",
            "service.namespace": "tunesmith",
            "service.version": version("tunesmith"),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    provider = TracerProvider(
        # Of a client, only which trace it is counts, not that it wants all of it kept.
        sampler=ParentBased(
            root=_Chosen(ratio),
            remote_parent_sampled=_Chosen(ratio) if process == "gateway" else ALWAYS_ON,
            remote_parent_not_sampled=_JobsAlone() if process == "gateway" else ALWAYS_OFF,
        ),
        resource=resource,
        span_limits=SpanLimits(max_attribute_length=1024),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=_SEND_SECONDS)
    # A second, not five: a trainer's process is ended when its work is done.
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    return provider, exporter


class _JobsAlone(Sampler):
    """Takes requests that create a job."""

    def should_sample(  # noqa: PLR0917 - as OpenTelemetry has it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        chosen = ALWAYS_ON if name == f"POST {JOBS_PATH}" else self.others()
        return chosen.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def others(self) -> Sampler:
        """Who decides about all other requests."""
        return ALWAYS_OFF

    def get_description(self) -> str:
        return "jobs"


class _Chosen(_JobsAlone):
    """Takes requests that create a job, and a share of all others."""

    def __init__(self, ratio: float) -> None:
        self._ratio = TraceIdRatioBased(ratio)

    def others(self) -> Sampler:
        return self._ratio

    def get_description(self) -> str:
        return f"jobs and {self._ratio.get_description()}"
