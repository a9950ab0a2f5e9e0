"""Traces by OpenTelemetry, where `TUNESMITH_OTLP_ENDPOINT` names a collector; else nothing at all.

A process opens tracing once, at its edge, and hands it on; without an endpoint there is none, no
library is loaded, and who traces asks `if span is not None`. What crosses processes is W3C's
`traceparent` (https://www.w3.org/TR/trace-context/): from clients, to engines, and in the column
`jobs.traceparent`, by which a job's work becomes part of the trace of the request that made it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tunesmith.platform.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = Mapping[str, str | int | float | bool]
Kind = Literal["server", "client", "producer", "consumer", "internal"]

JOBS_PATH = "/v1/fine_tuning/jobs"
"""Requests that create a job are always traced: there are few, and each makes hours of work."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_FLUSH_MILLISECONDS = 2_000

current_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""Of the request that this code works for; None where nothing is traced."""


class Span:
    """A part of a trace, to be ended once."""

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: Any) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def traceparent(self) -> str:
        """What makes another process's work a part of this one."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, as logs have it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def child(self, name: str, attributes: Attributes, *, kind: Kind = "internal") -> Span:
        """A span within this one."""
        return self._tracing.span(name, self._span, attributes, kind=kind)

    def set(self, attributes: Attributes) -> None:
        """Add what is known by now."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Call it by what it turned out to be."""
        self._span.update_name(name)

    def event(self, name: str) -> None:
        """Something happened now."""
        self._span.add_event(name)

    def end(self, error: str | None = None) -> None:
        """It is over, with an error perhaps."""
        self._tracing.end(self._span, error)


class Tracing:
    """The traces of one process.

    Args:
        give_up: has a try to send end now, for a collector that is away.
    """

    def __init__(self, provider: TracerProvider, give_up: Callable[[], None]) -> None:
        from opentelemetry import trace

        self._trace = trace
        self._provider = provider
        self._give_up = give_up
        self._tracer = provider.get_tracer("tunesmith")
        self._kinds = {kind.name.lower(): kind for kind in trace.SpanKind}

    def span(
        self,
        name: str,
        parent: Any,
        attributes: Attributes,
        *,
        kind: Kind = "internal",
        start: float | None = None,
    ) -> Span:
        """Begin a span.

        Args:
            parent: a span of OpenTelemetry, or a `traceparent`; None, or one that is not well
                formed, begins a trace.
            start: seconds since the epoch; now where None.
        """
        if isinstance(parent, str):
            parent = self._remote(parent)
        # An empty context, not None: that would be the one of whatever runs here.
        context = self._trace.set_span_in_context(parent or self._trace.INVALID_SPAN)
        span = self._tracer.start_span(
            name,
            context,
            kind=self._kinds[kind],
            attributes=dict(attributes),
            start_time=None if start is None else int(start * 1e9),
        )
        return Span(self, span)

    def record(
        self,
        name: str,
        traceparent: str | None,
        start: float,
        end: float,
        attributes: Attributes,
        *,
        error: str | None = None,
        events: Sequence[tuple[str, float]] = (),
    ) -> None:
        """Write down what is over, as a part of another's trace; nothing without a `traceparent`.

        Args:
            start, end: seconds since the epoch.
            events: names, and when each was.
        """
        if traceparent is None:
            return
        span = self.span(name, traceparent, attributes, kind="consumer", start=start)._span
        for event, moment in events:
            span.add_event(event, timestamp=int(moment * 1e9))
        self.end(span, error, int(max(start, end) * 1e9))

    def end(self, span: Any, error: str | None = None, moment: int | None = None) -> None:
        """End a span of OpenTelemetry, with an error perhaps, at `moment` (nanoseconds)."""
        if error is not None:
            span.set_status(self._trace.StatusCode.ERROR, error)
        span.end(moment)

    def close(self) -> None:
        """Send what is there, for two seconds at most, and end."""
        self._provider.force_flush(_FLUSH_MILLISECONDS)
        self._give_up()
        self._provider.shutdown()

    def _remote(self, traceparent: str) -> Any:
        if _TRACEPARENT.fullmatch(traceparent) is None:
            return None
        _, trace_id, span_id, flags = traceparent.split("-")
        context = self._trace.SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=self._trace.TraceFlags(int(flags, 16) & 1),
        )
        return self._trace.NonRecordingSpan(context)


def is_traceparent(text: str) -> bool:
    """Whether it is a W3C `traceparent` of version 00."""
    return _TRACEPARENT.fullmatch(text) is not None


def trace_id_of(traceparent: str) -> str:
    """The trace's id, as logs have it."""
    return traceparent[3:35]


class TraceSettings(Protocol):
    """Where traces go: two of the `Settings`."""

    @property
    def otlp_endpoint(self) -> str: ...
    @property
    def trace_sample_ratio(self) -> float: ...


def open_tracing(settings: TraceSettings, process: str) -> Tracing | None:
    """The traces of this process; None where the settings name no collector.

    Raises:
        InvalidRequest: OpenTelemetry is not installed, or the endpoint is no URL.
    """
    if not settings.otlp_endpoint:
        return None
    endpoint = settings.otlp_endpoint.rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"TUNESMITH_OTLP_ENDPOINT must begin with http:// or https://; it is {endpoint!r}.",
            param="otlp_endpoint",
        )
    try:
        from tunesmith.platform.tracing_export import exporting_provider
    except ImportError as error:
        raise InvalidRequest(
            "TUNESMITH_OTLP_ENDPOINT is set and OpenTelemetry is not installed"
            f" ({error}): pip install 'tunesmith[tracing]', or leave the endpoint empty.",
            param="otlp_endpoint",
        ) from error
    provider, exporter = exporting_provider(endpoint, process, settings.trace_sample_ratio)
    return Tracing(provider, exporter.shutdown)
