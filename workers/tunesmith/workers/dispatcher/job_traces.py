"""The parts of a job's life as spans of the trace of the request that created it.

Each part is logged as it begins, with the ids that other logs have one of.
"""

from __future__ import annotations

import threading

import structlog

from tunesmith.platform.database.models import Job
from tunesmith.platform.tracing import Span, Tracing, trace_id_of

log = structlog.get_logger()


class JobTraces:
    """A job is in one part at a time. Safe to use from several threads."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self._tracing = tracing
        self._parts: dict[str, Span] = {}
        self._lock = threading.Lock()

    def began(self, job: Job, part: str) -> str | None:
        """A job is in `part` from now on; what makes another process's work a part of that.

        None where the job is not traced.
        """
        if job.traceparent is None:
            log.info(part, job_id=job.id, tenant_id=job.tenant_id, base=job.base_name)
            return None
        log.info(
            part,
            job_id=job.id,
            tenant_id=job.tenant_id,
            base=job.base_name,
            trace_id=trace_id_of(job.traceparent),
        )
        return self._begin(job.id, part, job.traceparent, _attributes(job))

    def waited(self, job: Job, since: float, until: float) -> None:
        """A job waited for its turn."""
        if self._tracing is not None and job.traceparent is not None:
            self._tracing.record("wait in queue", job.traceparent, since, until, _attributes(job))

    def event(self, job_id: str, name: str) -> None:
        """Something happened to a job."""
        with self._lock:
            span = self._parts.get(job_id)
        if span is not None:
            span.event(name)

    def ended(self, job_id: str, error: str | None = None) -> None:
        """A job's part is over; nothing happens where there is none."""
        with self._lock:
            span = self._parts.pop(job_id, None)
        if span is not None:
            span.end(error)

    def _begin(
        self, job_id: str, part: str, traceparent: str, attributes: dict[str, str]
    ) -> str | None:
        if self._tracing is None:
            return None
        self.ended(job_id)
        span = self._tracing.span(part, traceparent, attributes, kind="consumer")
        with self._lock:
            self._parts[job_id] = span
        return span.traceparent


def _attributes(job: Job) -> dict[str, str]:
    return {
        "tunesmith.job_id": job.id,
        "tunesmith.tenant_id": job.tenant_id,
        "tunesmith.base": job.base_name,
    }
