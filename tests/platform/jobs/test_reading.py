"""What a tenant sees of its jobs: its own alone, found by metadata with any characters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.domain.training import StoredAdapter
from tunesmith.platform.jobs import control, progress, reading
from tunesmith.platform.jobs.creation import create_job

if TYPE_CHECKING:
    from tests.platform.conftest import World

# PostgreSQL keeps no NUL, and no database keeps half a surrogate pair.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
KEY = st.sampled_from(['a"b', "a.b", "a[0]", "$", "'", "0", "a b", "\\", "%", '"', "é"]) | TEXT


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(metadata=st.dictionaries(KEY, TEXT, min_size=1, max_size=3), other=TEXT)
def test_metadata_find_exactly_their_jobs(
    world: World, metadata: dict[str, str], other: str
) -> None:
    tenant = world.tenant()
    with world.database.transaction() as session:
        request = world.request(tenant)
        found = create_job(session, tenant, replace(request, metadata=metadata)).id
        bare = create_job(session, tenant, request).id

        def ids(**options: object) -> list[str]:
            page = reading.list_jobs(session, tenant, **options)  # type: ignore[arg-type]
            return [job.id for job in page.items]

        assert ids(metadata=metadata) == [found]
        for key, value in metadata.items():
            assert ids(metadata={key: value}) == [found]
            assert ids(metadata={key: value + "x"}) == []
            assert ids(metadata={key + "x": value, key: value}) == (
                [found] if metadata.get(key + "x") == value else []
            )
        assert ids(without_metadata=True) == [bare]
        assert ids() == [bare, found]


def test_another_tenants_job_does_not_exist(world: World) -> None:
    owner, other = world.tenant(), world.tenant()
    job = world.running_job(owner).job_id
    with world.database.transaction() as session:
        for read in (
            lambda: reading.get_job(session, other, job),
            lambda: reading.list_events(session, other, job),
            lambda: reading.list_checkpoints(session, other, job),
            lambda: reading.list_jobs(session, other, after=job),
            lambda: control.cancel(session, other, job),
            lambda: control.pause(session, other, job),
            lambda: control.resume(session, other, job),
        ):
            with pytest.raises(NotFound):
                read()
        assert reading.list_jobs(session, other).items == []
        assert [j.id for j in reading.list_jobs(session, owner).items] == [job]


def test_events_and_checkpoints_are_paged_newest_first(world: World) -> None:
    tenant = world.tenant()
    lease, other = world.running_job(tenant), world.running_job(tenant)
    with world.database.transaction() as session:
        for step in range(1, 5):
            progress.record_checkpoint(
                session,
                lease,
                StoredAdapter(f"{step}" * 64, 16, 100),
                model_name="ft:m",
                step=step,
                metrics={"train_loss": float("nan"), "valid_loss": 1.0},
            )
    with world.database.reading() as session:
        checkpoints = reading.list_checkpoints(session, tenant, lease.job_id).items
        assert [c.step_number for c in checkpoints] == [4, 3, 2]
        assert [c.metrics for c in checkpoints] == [{"valid_loss": 1.0}] * 3
        page = reading.list_checkpoints(
            session, tenant, lease.job_id, after=checkpoints[0].id, limit=1
        )
        assert ([c.step_number for c in page.items], page.has_more) == ([3], True)
        events = reading.list_events(session, tenant, lease.job_id).items
        rest = reading.list_events(session, tenant, lease.job_id, after=events[1].id)
        assert [e.id for e in rest.items] == [e.id for e in events[2:]]
        foreign = reading.list_events(session, tenant, other.job_id).items[0].id
        with pytest.raises(NotFound):
            reading.list_events(session, tenant, lease.job_id, after=foreign)
        with pytest.raises(NotFound):
            reading.list_checkpoints(session, tenant, other.job_id, after=checkpoints[0].id)
