"""Reports of a running job: repeated steps replace, checkpoints are pruned, results are CSV."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning.jobs.fine_tuning_job_checkpoint import (
    Metrics as FineTuningJobCheckpointMetrics,
)
from sqlalchemy import select

from tunesmith.platform import models
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.platform.jobs import control, progress, queue, reading

if TYPE_CHECKING:
    from tests.platform.conftest import World

NAN = float("nan")


@given(loss=st.floats(), accuracy=st.floats(), valid=st.none() | st.floats())
def test_only_finite_figures_are_kept(loss: float, accuracy: float, valid: float | None) -> None:
    data = StepMetrics(1, 2, loss, accuracy, valid_loss=valid).data()
    assert all(value == value and abs(value) != float("inf") for value in data.values())
    given_figures = {
        "train_loss": loss,
        "train_mean_token_accuracy": accuracy,
        "valid_loss": valid,
    }
    for name, value in given_figures.items():
        assert (name in data) == (value is not None and abs(value) < float("inf"))


def test_a_step_that_is_trained_again_replaces_its_figures(world: World) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    steps = [
        StepMetrics(1, 3, 2.0, 0.1),
        StepMetrics(2, 3, NAN, 0.2, valid_loss=1.5, valid_mean_token_accuracy=0.4),
        StepMetrics(
            1, 3, 1.0, 0.3, learning_rate=2e-4, grad_norm=0.5, tokens_per_second=900.0,
            padding_share=0.125, tokens=450,
        ),
    ]  # fmt: skip
    with world.database.transaction() as session:
        progress.record_metrics(session, lease, steps, estimated_finish=2e9)
    with world.database.reading() as session:
        events = reading.list_events(session, tenant, lease.job_id).items
        messages = [e.message for e in events if e.type == "metrics"]
        assert messages == [
            "Step 2/3: training loss=nan, validation loss=1.50",
            "Step 1/3: training loss=1.00",
        ]
        assert progress.result_csv(session, lease.job_id).decode() == (
            "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,"
            "learning_rate,grad_norm,tokens_per_second,padding_share\n"
            "1,1.0,0.3,,,0.0002,0.5,900.0,0.125\n"
            "2,,0.2,1.5,0.4,,,,\n"
        )
        job = reading.get_job(session, tenant, lease.job_id)
        assert (job.step, job.total_steps, job.estimated_finish) == (1, 3, 2e9)


def test_events_carry_openais_figures_first_and_checkpoints_only_those() -> None:
    figures = {field.name: 1 for field in fields(StepMetrics)}
    metrics = StepMetrics(**figures)
    openai = list(FineTuningJobCheckpointMetrics.model_fields)
    # Events have `total_steps` besides.
    assert set(list(metrics.data())[: len(openai) + 1]) == {*openai, "total_steps"}
    assert {"padding_share", "reward_margin", "reward_accuracy", "tokens"} <= metrics.data().keys()
    assert sorted(progress.checkpoint_metrics(metrics)) == sorted(openai)


def test_old_checkpoints_go_and_their_adapters_when_the_job_ended_without_them(
    world: World,
) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    for step, digest in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d"), (5, "d"), (6, "e")]:
        with world.database.transaction() as session:
            progress.record_checkpoint(
                session,
                lease,
                StoredAdapter(digest * 64, 16, 100),
                model_name="ft:m",
                step=step,
                metrics={},
            )
    with world.database.reading() as session:
        assert [m.name for m in models.list_models(session, tenant)] == [
            f"ft:m:ckpt-step-{step}" for step in (4, 5, 6)
        ]
        made = models.adapters_made(session, lease.job_id)
        assert sorted(made) == [digest * 64 for digest in "abcde"]
        assert all(models.is_referred(session, digest) for digest in made)
    with world.database.transaction() as session:
        # The best epoch was the third, whose checkpoint is gone.
        progress.complete(
            session,
            lease,
            StoredAdapter("c" * 64, 16, 100),
            model_name="ft:m",
            trained_tokens=1,
            result_file=world.file(tenant),
        )
    with world.database.reading() as session:
        orphans = [digest[0] for digest in made if not models.is_referred(session, digest)]
        assert orphans == ["b"]  # step 1's adapter is step 4's too


def test_two_equal_jobs_end_with_one_adapter_and_two_models(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    names = [world.model(tenant, digest="a" * 64), world.model(other, digest="a" * 64)]
    assert world.adapter_of(tenant, names[0]) == world.adapter_of(other, names[1])
    with world.database.transaction() as session:
        assert models.delete_model(session, tenant, names[0]) == []
        assert models.delete_model(session, other, names[1]) == ["a" * 64]


def test_restarts_that_get_further_are_not_counted(world: World) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    for step in range(1, 8):
        with world.database.transaction() as session:
            progress.record_state(session, lease, f"states/{step}", step)
            queue.requeue(session, lease, "Worker lost", max_attempts=2)
        lease = world.lease(lease.job_id)
        with world.database.transaction() as session:
            queue.begin(session, lease, "Started again")
    for status in (JobStatus.QUEUED, JobStatus.FAILED):
        with world.database.transaction() as session:
            queue.requeue(session, lease, "Worker lost", max_attempts=2)
            assert reading.get_job(session, tenant, lease.job_id).status == status
        if status == JobStatus.QUEUED:
            lease = world.lease(lease.job_id)
            with world.database.transaction() as session:
                queue.begin(session, lease, "Started again")


def test_stops_on_purpose_and_pauses_never_fail_a_job(world: World) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    for turn in range(6):
        with world.database.transaction() as session:
            if turn % 2:
                control.pause(session, tenant, lease.job_id)
                queue.release(session, lease)
                control.resume(session, tenant, lease.job_id)
            else:
                queue.requeue(session, lease, "Stopped", max_attempts=None)
        lease = world.lease(lease.job_id)
        with world.database.transaction() as session:
            assert queue.begin(session, lease, "Started again").attempts == 1


def test_a_pause_keeps_the_state_that_its_worker_still_stores(world: World) -> None:
    tenant = world.tenant()
    lease = world.running_job(tenant)
    with world.database.transaction() as session:
        control.pause(session, tenant, lease.job_id)
    with world.database.transaction() as session:
        assert progress.record_state(session, lease, "states/1", 1) is None
        assert progress.record_state(session, lease, "states/2", 2) == "states/1"
        assert progress.record_state(session, lease, "states/2", 2) is None
        queue.release(session, lease)
    with world.database.reading() as session:
        job = session.scalars(select(Job).where(Job.id == lease.job_id)).one()
    assert (job.status, job.resume_key, job.resume_step) == (JobStatus.PAUSED, "states/2", 2)
    assert job.lease_token is None
