"""Evaluations: asked for by jobs and tenants, ended under a claim, seen by their tenant alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from tunesmith.platform import claims, models, policy
from tunesmith.platform.database.models import Evaluation, JobEvent
from tunesmith.platform.domain.errors import InvalidRequest, LeaseLost, NotFound
from tunesmith.platform.evaluations import reading, results
from tunesmith.platform.evaluations.creation import EvaluationRequest, create_evaluation

if TYPE_CHECKING:
    from tests.platform.conftest import World

BASE = "pocket"


def succeeded(world: World, tenant: str) -> tuple[str, str]:
    """Id and model of a job that succeeded."""
    from tunesmith.platform.domain.job import JobStatus
    from tunesmith.platform.jobs.reading import get_job

    job_id = world.job_in(tenant, JobStatus.SUCCEEDED)
    with world.database.reading() as session:
        return job_id, str(get_job(session, tenant, job_id).fine_tuned_model)


def ask(world: World, tenant: str, **asked: Any) -> Evaluation:
    with world.database.transaction() as session:
        return create_evaluation(session, tenant, EvaluationRequest(**asked))


def take(world: World) -> tuple[claims.Claim, Evaluation]:
    with world.database.transaction() as session:
        found = claims.claim(session, Evaluation, 60.0, max_attempts=3)
    assert found is not None
    return found


def test_a_job_that_succeeds_asks_for_its_evaluation_against_what_it_started_from(
    world: World,
) -> None:
    tenant = world.tenant()
    job_id, model = succeeded(world, tenant)
    with world.database.reading() as session:
        found = reading.evaluation_of_job(session, tenant, job_id)
        assert (found.status, found.baseline_model, found.candidate_model) == (
            claims.QUEUED,
            BASE,
            model,
        )
        assert (found.baseline_digest, found.request["source"]["type"]) == (None, "none")
        assert found.request["minimum_relative_improvement"] == 0.2


def test_an_ended_evaluation_tells_its_job(world: World) -> None:
    tenant = world.tenant()
    job_id, _ = succeeded(world, tenant)
    claim, _ = take(world)
    result = {"verdict": "better", "summary": "It got better."}
    with world.database.transaction() as session:
        results.complete(session, claim, result=result, items=None, error=None)
    with world.database.reading() as session:
        newest = session.scalars(
            select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq.desc())
        ).first()
        assert newest is not None
        assert newest.message.endswith("It got better.")
        assert newest.data is not None
        assert newest.data["verdict"] == "better"
        assert reading.evaluation_of_job(session, tenant, job_id).status == claims.COMPLETED


def test_what_is_missing_makes_it_incomplete_and_not_a_score(world: World) -> None:
    tenant = world.tenant()
    succeeded(world, tenant)
    claim, _ = take(world)
    lack = {"code": "judge_failed", "message": "The judge did not answer."}
    with world.database.transaction() as session:
        row = results.complete(session, claim, result={"verdict": None}, items=None, error=lack)
        assert (row.status, row.error) == (claims.INCOMPLETE, lack)


def test_a_tenants_policy_is_its_evaluations_bar(world: World) -> None:
    tenant = world.tenant()
    _, model = succeeded(world, tenant)
    own = policy.Policy(minimum_relative_improvement=0.5, maximum_forgetting=0.05)
    with world.database.transaction() as session:
        policy.keep_policy(session, tenant, own)
    row = ask(world, tenant, candidate=model, file=world.file(tenant), maximum_forgetting=0.3)
    assert row.request["minimum_relative_improvement"] == 0.5
    assert row.request["maximum_forgetting"] == 0.3


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({"candidate": "nothing"}, NotFound, "model"),
        ({"candidate": BASE}, InvalidRequest, "baseline"),
        ({"candidate": "MODEL", "baseline": "nothing"}, NotFound, "baseline"),
        ({"candidate": "MODEL", "baseline": "MODEL"}, InvalidRequest, "baseline"),
        ({"candidate": "MODEL"}, InvalidRequest, "file"),
        ({"candidate": "MODEL", "file": "file-nothing"}, NotFound, "file"),
        ({"candidate": "MODEL", "file": "BATCH"}, InvalidRequest, "file"),
        ({"candidate": "FOREIGN"}, NotFound, "model"),
        ({"candidate": "MODEL", "file": "FOREIGN FILE"}, NotFound, "file"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    world: World, asked: dict[str, str], error: type[Exception], param: str
) -> None:
    tenant, other = world.tenant(), world.tenant()
    names = {
        "MODEL": succeeded(world, tenant)[1],
        "FOREIGN": succeeded(world, other)[1],
        "BATCH": world.file(tenant, purpose="batch"),
        "FOREIGN FILE": world.training_files[other],
    }
    with pytest.raises(error) as refused:
        ask(world, tenant, **{name: names.get(value, value) for name, value in asked.items()})
    assert getattr(refused.value, "param", None) == param


def test_a_canceled_evaluation_takes_no_result(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    job_id, _ = succeeded(world, tenant)
    claim, row = take(world)
    with world.database.transaction() as session:
        with pytest.raises(NotFound):
            reading.cancel_evaluation(session, other, row.id)
        reading.cancel_evaluation(session, tenant, row.id)
    with world.database.transaction() as session:
        with pytest.raises(LeaseLost):
            results.complete(session, claim, result={}, items=None, error=None)
        with pytest.raises(InvalidRequest, match="canceled already"):
            reading.cancel_evaluation(session, tenant, row.id)
        assert reading.evaluation_of_job(session, tenant, job_id).result is None


def test_a_deleted_models_evaluations_end(world: World) -> None:
    tenant = world.tenant()
    _, model = succeeded(world, tenant)
    with world.database.transaction() as session:
        models.delete_model(session, tenant, model)
    with world.database.reading() as session:
        (row,) = session.scalars(select(Evaluation)).all()
        assert (row.status, row.error and row.error["code"]) == (claims.CANCELED, "model_deleted")


def test_lists_are_the_tenants_own(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    _, model = succeeded(world, tenant)
    succeeded(world, other)
    asked = ask(world, tenant, candidate=model, file=world.file(tenant), name="again")
    with world.database.reading() as session:
        listed = reading.list_evaluations(session, tenant, model=model)
        assert listed.items[0].id == asked.id
        assert len(listed.items) == 2
        assert reading.list_evaluations(session, tenant, model="x").items == []
        with pytest.raises(NotFound):
            reading.list_evaluations(session, other, after=asked.id)
