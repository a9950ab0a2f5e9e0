"""One trace from a client's request to the engine, and from a job's creation to its verdict."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, wait_for
from tests.observability.collector import Collector
from tests.observability.tools import ROOT
from tests.workers.dispatcher.conftest import Desk, Pool

from tunesmith.platform import claims
from tunesmith.platform.database.models import Evaluation, Job
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.platform.jobs import progress
from tunesmith.platform.jobs.queue import Lease
from tunesmith.platform.settings import Settings
from tunesmith.platform.tracing import is_traceparent, open_tracing
from tunesmith.workers.dispatcher.job_traces import JobTraces
from tunesmith.workers.dispatcher.trainings import Trainings
from tunesmith.workers.evaluator.comparing import Comparing, EvaluationImpossible
from tunesmith.workers.tracking.tracking import Tracking
from tunesmith.workers.training.work import EpochStored, Failed, Finished, Joined, TrainingWork

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def traced_engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.kill()


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, traced_engine: FakeEngine
) -> Iterator[Gateway]:
    """A gateway that traces every request."""
    gateway = Gateway(
        settings_for(
            tmp_path_factory.mktemp("traced"),
            traced_engine,
            otlp_endpoint=collector.url,
            trace_sample_ratio=1.0,
        )
    )
    yield gateway
    gateway.stop()


def test_a_request_is_one_trace_from_its_client_to_the_engine(
    traced: Gateway, traced_engine: FakeEngine, collector: Collector
) -> None:
    tenant = traced.tenant()
    stream = tenant.client.chat.completions.create(
        model="pocket",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        extra_headers={"traceparent": CLIENT, "x-request-id": "req-of-the-client"},
    )
    list(stream)
    wait_for(lambda: len(collector.trace(TRACE)) == 2)
    spans = collector.trace(TRACE)
    request = spans["gateway: POST /v1/chat/completions"]
    engine = spans["gateway: engine /v1/chat/completions"]
    assert request.parent_id == CLIENT.split("-")[2]
    assert engine.parent_id == request.span_id
    assert traced_engine.headers[-1]["traceparent"] == f"00-{TRACE}-{engine.span_id}-01"
    assert request.attributes["tunesmith.tenant_id"] == tenant.id
    assert request.attributes["tunesmith.request_id"] == "req-of-the-client"
    assert request.attributes["http.response.status_code"] == 200
    assert engine.attributes["gen_ai.usage.output_tokens"] > 0
    assert engine.events == ["first token"]
    assert not request.failed
    assert not engine.failed


def test_a_failure_is_seen_on_both_spans(
    traced: Gateway, traced_engine: FakeEngine, collector: Collector
) -> None:
    tenant = traced.tenant()
    trace = "1" * 32
    traced_engine.fail_with = (500, {"error": {"message": "CUDA error"}})
    try:
        answer = tenant.http.post(
            "/v1/chat/completions",
            json={"model": "pocket", "messages": []},
            headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        )
    finally:
        traced_engine.fail_with = None
    assert answer.status_code == 503
    wait_for(lambda: len(collector.trace(trace)) == 2)
    assert all(span.failed for span in collector.trace(trace).values())


def test_nonsense_begins_a_trace_of_its_own(traced: Gateway, collector: Collector) -> None:
    tenant = traced.tenant()
    nonsense = f"00-{'z' * 32}-1-01"
    tenant.http.get("/v1/models", headers={"traceparent": nonsense, "x-request-id": "r-nonsense"})

    def found() -> list[Any]:
        return [
            s for s in collector.spans if s.attributes.get("tunesmith.request_id") == "r-nonsense"
        ]

    wait_for(lambda: bool(found()))
    assert found()[0].parent_id == ""
    assert found()[0].name == "GET /v1/models"


@pytest.fixture(scope="module")
def desk(traced: Gateway) -> Iterator[Desk]:
    """A dispatcher's means, over the gateway's database."""
    made = Desk(traced.settings.home)
    yield made
    made.reports.close()
    made.database.dispose()


def test_a_job_is_one_trace_across_processes(
    traced: Gateway, desk: Desk, collector: Collector
) -> None:
    tenant = traced.tenant()
    job = tenant.client.fine_tuning.jobs.create(
        model="pocket",
        training_file=tenant.upload(),
        validation_file=tenant.upload(),
        extra_headers={"traceparent": CLIENT.replace("0a", "0b", 1)},
    )
    trace = CLIENT.replace("0a", "0b", 1).split("-")[1]
    row = desk.job(job.id)
    assert row.traceparent is not None
    assert is_traceparent(row.traceparent)
    works = _train(traced, desk, row)
    assert works[0].traceparent is not None
    _evaluate(traced, desk)
    expected = {
        "gateway: POST /v1/fine_tuning/jobs",
        "dispatcher: validate files",
        "dispatcher: wait in queue",
        "dispatcher: train",
        "dispatcher: publish",
        "evaluator: evaluate",
    }
    wait_for(lambda: expected <= collector.trace(trace).keys())
    spans = collector.trace(trace)
    request = spans["gateway: POST /v1/fine_tuning/jobs"]
    for name in expected - {"gateway: POST /v1/fine_tuning/jobs"}:
        assert spans[name].parent_id == request.span_id, name
        assert spans[name].attributes["tunesmith.job_id"] == job.id
    assert works[0].traceparent.split("-")[2] == spans["dispatcher: train"].span_id
    assert spans["dispatcher: train"].events == ["epoch stored"]
    assert spans["evaluator: evaluate"].failed


def test_a_job_that_fails_ends_its_span_with_the_code(
    traced: Gateway, desk: Desk, collector: Collector
) -> None:
    tenant = traced.tenant()
    trace = "2" * 32
    job = tenant.client.fine_tuning.jobs.create(
        model="pocket",
        training_file=tenant.upload(),
        extra_headers={"traceparent": f"00-{trace}-b7ad6b7169203331-00"},
    )
    # Its client does not keep the trace; a job is kept all the same.
    _train(traced, desk, desk.job(job.id), fails=True)
    wait_for(lambda: "dispatcher: train" in collector.trace(trace))
    assert collector.trace(trace)["dispatcher: train"].failed


def _train(gateway: Gateway, desk: Desk, job: Job, *, fails: bool = False) -> list[TrainingWork]:
    """Have a dispatcher of its own do the job, in a cohort that the test speaks for."""
    tracing = open_tracing(gateway.settings, "dispatcher")
    assert tracing is not None
    traces = JobTraces(tracing)
    traces.began(job, "validate files")
    gateway.prepare(job.id)
    traces.ended(job.id)
    works: list[TrainingWork] = []
    join = desk.cohort.join

    def keep(work: TrainingWork) -> None:
        works.append(work)
        join(work)

    desk.cohort.join = keep  # type: ignore[method-assign]
    pool: Any = Pool([desk.cohort])
    trainings = Trainings(
        desk.settings,
        desk.reports,
        pool,
        _Publisher(desk, job),  # type: ignore[arg-type]
        "me",
        metrics=desk.metrics,
        tracking=Tracking(),
        traces=traces,
    )
    trainings.start(queued={"pocket"})
    assert desk.cohort.jobs == {job.id}
    adapter = StoredAdapter("a" * 64, 8, 10)
    desk.cohort.next_updates = (
        [Failed(job.id, "out_of_memory", "There was no room.")]
        if fails
        else [
            Joined(job.id, 0, 4),
            EpochStored(job.id, adapter, StepMetrics(4, 4, 1.0, 0.5)),
            Finished(job.id, adapter, 28),
        ]
    )
    trainings.take_updates()

    def done() -> bool:
        trainings.finish()
        return not trainings.leases

    wait_for(done)
    tracing.close()
    return works


class _Publisher:
    """Completes a job without asking engines."""

    def __init__(self, desk: Desk, job: Job) -> None:
        self._desk = desk
        self._job = job

    def publish(self, lease: Lease, finished: Finished) -> None:
        with self._desk.database.transaction() as session:
            progress.complete(
                session,
                lease,
                finished.adapter,
                model_name=f"ft:pocket:org::{self._job.id[-8:]}",
                trained_tokens=28,
                result_file=self._job.training_file,
            )


def _evaluate(gateway: Gateway, desk: Desk) -> None:
    """Have an evaluator of its own take up the evaluation, whose examples are gone."""
    tracing = open_tracing(gateway.settings, "evaluator")
    with desk.database.transaction() as session:
        found = claims.claim(session, Evaluation, 60.0, max_attempts=3)
    assert found is not None
    gateway.storage.delete(found[1].request["source"]["examples_key"])
    comparing = Comparing(gateway.settings, desk.database, gateway.storage, tracing=tracing)
    with pytest.raises(EvaluationImpossible):
        comparing.run(found[0], threading.Event())
    assert tracing is not None
    tracing.close()


def test_a_share_of_requests_is_traced_and_every_job_is(
    tmp_path: Path, collector: Collector, traced_engine: FakeEngine
) -> None:
    gateway = Gateway(
        settings_for(tmp_path, traced_engine, otlp_endpoint=collector.url, trace_sample_ratio=0.0)
    )
    tenant = gateway.tenant()
    tenant.client.chat.completions.create(
        model="pocket", messages=[{"role": "user", "content": "Hi"}]
    )
    # The engine is told not to keep it either.
    assert int(traced_engine.headers[-1]["traceparent"][-2:], 16) & 1 == 0
    before = len(collector.spans)
    job = tenant.client.fine_tuning.jobs.create(model="pocket", training_file=tenant.upload())
    gateway.stop()
    new = collector.spans[before:]
    assert [span.name for span in new] == ["POST /v1/fine_tuning/jobs"]
    assert job.id


def test_a_collector_that_is_away_costs_no_request(
    tmp_path: Path, traced_engine: FakeEngine
) -> None:
    gateway = Gateway(
        settings_for(
            tmp_path, traced_engine, otlp_endpoint="http://127.0.0.1:9", trace_sample_ratio=1.0
        )
    )
    tenant = gateway.tenant()
    assert tenant.http.get("/v1/models").status_code == 200
    gateway.stop()


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must begin with http"):
        open_tracing(Settings(otlp_endpoint="collector:4317"), "gateway")


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys\n"
        "from tunesmith.platform.settings import Settings\n"
        "from tunesmith.platform.tracing import open_tracing\n"
        "assert open_tracing(Settings(), 'gateway') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
    naming = {
        path.name
        for root in ("gateway", "workers", "platform")
        for path in (ROOT / root).rglob("*.py")
        if re.search(r"^\s*(from|import) (opentelemetry|.*tracing_export)", path.read_text(), re.M)
    }
    assert naming == {"tracing.py", "tracing_export.py"}
