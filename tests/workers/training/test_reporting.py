"""A trainer's spans are parts of its job's trace, and its log lines name the job."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from tunesmith.platform.logs import configure_logs
from tunesmith.workers.training.cohort_worker import CohortWorker
from tunesmith.workers.training.reporting import begin_reporting
from tunesmith.workers.training.work import CohortSettings, Reporting, TrainingWork

from .conftest import ended, gather

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorded:
    """Stands for traces."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str | None, dict[str, Any]]] = []

    def record(
        self, name: str, parent: str | None, start: float, end: float, attributes: dict[str, Any]
    ) -> None:
        assert start <= end
        self.spans.append((name, parent, attributes))


def test_reading_and_each_epoch_are_spans_of_the_jobs_trace(
    cohort_settings: CohortSettings, work: Callable[..., TrainingWork]
) -> None:
    recorded: Any = Recorded()
    stream = io.StringIO()
    configure_logs(Reporting(), process="trainer", stream=stream)
    worker = CohortWorker(cohort_settings, recorded)
    try:
        worker.join(work(traceparent=PARENT))
        gather(worker, ended("ftjob-a"))
    finally:
        worker.stop()
    assert [(name, parent) for name, parent, _ in recorded.spans] == [
        ("read examples", PARENT),
        *[("epoch", PARENT)] * 3,
    ]
    assert [a.get("tunesmith.step") for _, _, a in recorded.spans] == [None, 6, 12, 18]
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    handed_in = next(line for line in lines if line["event"] == "job handed in")
    assert handed_in["job_id"] == "ftjob-a"
    assert handed_in["trace_id"] == PARENT.split("-")[1]
    assert handed_in["process"] == "trainer"


def test_a_worker_that_cannot_trace_trains_all_the_same() -> None:
    assert begin_reporting(Reporting(otlp_endpoint="collector"), "trainer") is None
