"""What Prometheus scrapes agrees with what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.workers.dispatcher.metrics import TrainingMetrics, of_cohorts
from tunesmith.workers.dispatcher.queue_figures import JobFigures
from tunesmith.workers.status_server import ProcessStatus, StatusServer
from tunesmith.workers.training.work import Failed, Finished, Joined, Stepped

BASE = "pocket"

if TYPE_CHECKING:
    from tests.workers.dispatcher.conftest import Desk


def value(metrics: TrainingMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"base": "pocket", **labels})


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10_000), st.floats(1, 1e6), st.none() | st.floats(0, 1, exclude_max=True)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_steps_add_up(steps: list[tuple[int, float, float | None]]) -> None:
    metrics = TrainingMetrics(clock=lambda: 100.0)
    for number, (tokens, rate, share) in enumerate(steps, 1):
        metrics.stepped(
            "pocket",
            StepMetrics(
                number, 99, 1.0, 0.5, tokens=tokens, tokens_per_second=rate, padding_share=share
            ),
        )
    tokens = sum(tokens for tokens, _, _ in steps)
    computed = sum(tokens / (1 - (share or 0.0)) for tokens, _, share in steps)
    assert value(metrics, "tunesmith_training_steps_total") == len(steps)
    assert value(metrics, "tunesmith_training_tokens_total") == tokens
    padding = value(metrics, "tunesmith_training_padding_tokens_total") or 0.0
    assert padding + tokens == pytest.approx(computed)
    assert value(metrics, "tunesmith_training_step_seconds_sum") == pytest.approx(
        sum(tokens / rate for tokens, rate, _ in steps)
    )


def test_a_step_without_figures_is_a_step_all_the_same() -> None:
    metrics = TrainingMetrics()
    metrics.stepped("pocket", StepMetrics(1, 2, 1.0, 0.5))
    assert value(metrics, "tunesmith_training_steps_total") == 1
    assert value(metrics, "tunesmith_training_tokens_total") is None
    metrics.stepped("pocket", StepMetrics(2, 2, 1.0, 0.5, tokens=5, padding_share=1.0))
    assert value(metrics, "tunesmith_training_tokens_total") == 5
    assert value(metrics, "tunesmith_training_padding_tokens_total") is None


def test_the_rate_forgets_what_was_long_ago() -> None:
    now = [0.0]
    metrics = TrainingMetrics(clock=lambda: now[0])
    step = StepMetrics(1, 2, 1.0, 0.5, tokens=300)
    metrics.stepped("pocket", step)
    now[0] = 20.0
    metrics.stepped("pocket", step)
    assert value(metrics, "tunesmith_training_tokens_per_second") == 20
    now[0] = 30.0
    assert value(metrics, "tunesmith_training_tokens_per_second") == 10
    now[0] = 50.0
    assert value(metrics, "tunesmith_training_tokens_per_second") == 0


def test_a_jobs_life_is_seen(desk: Desk) -> None:
    metrics = desk.metrics
    metrics.collect_from(lambda: of_cohorts([desk.cohort], 4))
    metrics.collect_from(JobFigures(desk.database))
    good, bad, waits = desk.queued_job(), desk.queued_job(), desk.queued_job()
    assert value(metrics, "tunesmith_unfinished_jobs", status="queued") == 3
    desk.settings.slots_per_cohort = 2
    trainings = desk.trainings()
    trainings.start(queued={BASE})
    assert desk.cohort.jobs == {good, bad}
    assert value(metrics, "tunesmith_job_wait_seconds_count") == 2
    for status, count in (("queued", 1), ("running", 2), ("paused", 0)):
        assert value(metrics, "tunesmith_unfinished_jobs", status=status) == count
    assert value(metrics, "tunesmith_cohorts") == 1
    assert value(metrics, "tunesmith_cohort_slots") == 4
    assert value(metrics, "tunesmith_cohort_slots_used") == 2

    step = StepMetrics(1, 4, 1.0, 0.5, tokens=7, tokens_per_second=70.0)
    desk.cohort.next_updates = [
        Joined(good, 0, 4),
        Stepped(good, step, 1.0),
        Stepped("ftjob-of-another-dispatcher", step, 1.0),
        Failed(bad, "loss_not_finite", "At step 1 the loss is not finite."),
        Finished(good, StoredAdapter("a" * 64, 8, 10), 28),
    ]
    trainings.take_updates()
    desk.wait_beside()
    trainings.finish()
    assert desk.published == [good]
    assert value(metrics, "tunesmith_training_steps_total") == 1
    assert value(metrics, "tunesmith_publish_seconds_count") == 1
    assert value(metrics, "tunesmith_job_failures_total", code="loss_not_finite") == 1
    assert value(metrics, "tunesmith_cohort_slots_used") == 0

    # A lost cohort's job starts again: it is not counted as one that waited from its creation.
    trainings.start(queued={BASE})
    assert desk.cohort.jobs == {waits}
    desk.cohort.lost = True
    trainings.take_updates()
    assert value(metrics, "tunesmith_cohorts_lost_total") == 1
    assert desk.status(waits) == JobStatus.QUEUED
    desk.cohort.lost, desk.cohort.jobs = False, set()
    desk.trainings().start(queued={BASE})
    assert desk.status(waits) == JobStatus.RUNNING
    assert value(metrics, "tunesmith_job_wait_seconds_count") == 3


def test_prometheus_can_scrape_it_and_no_series_names_a_job(desk: Desk) -> None:
    job = desk.queued_job()
    desk.metrics.collect_from(JobFigures(desk.database))
    trainings = desk.trainings()
    trainings.start(queued={BASE})
    desk.cohort.next_updates = [Stepped(job, StepMetrics(1, 4, 1.0, 0.5, tokens=7), 1.0)]
    trainings.take_updates()
    server = StatusServer("127.0.0.1", 0, ProcessStatus(), desk.metrics.registry)
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.close()
    labels = {
        name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for name in sample.labels
    }
    assert labels == {"base", "status", "outcome", "le"}
    assert "tunesmith_training_steps_total" in text
    assert job not in text
    assert desk.tenant not in text


def test_a_database_that_is_down_leaves_the_other_figures(desk: Desk) -> None:
    desk.metrics.stepped("pocket", StepMetrics(1, 4, 1.0, 0.5))
    with desk.database.transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE jobs RENAME TO gone")
    desk.metrics.collect_from(JobFigures(desk.database))
    assert value(desk.metrics, "tunesmith_training_steps_total") == 1
