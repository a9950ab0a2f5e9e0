"""A batch's statuses and leases under every order of what may happen to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tunesmith.platform.batches import creation, leases, progress, reading, status
from tunesmith.platform.batches.leases import Lease
from tunesmith.platform.batches.segments import Results
from tunesmith.platform.database.models import Batch
from tunesmith.platform.domain.errors import InvalidRequest, LeaseLost

if TYPE_CHECKING:
    from tests.platform.conftest import World

NOTHING = Results(None, None, completed=0, failed=0)
STEPS = ("claim", "lose", "give_back", "validated", "answered", "complete", "fail", "cancel")


class Story:
    """One batch, and the holders that it has had."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tenant = world.tenant()
        with world.database.transaction() as session:
            file = world.file(self.tenant, purpose="batch")
            request = creation.BatchRequest(file, "/v1/completions")
            self.id = creation.create_batch(session, self.tenant, "key_x", request).id
        self.holders: list[Lease] = []

    def row(self) -> Batch:
        with self.world.database.reading() as session:
            return reading.get_batch(session, self.tenant, self.id)

    def step(self, name: str, holder: Lease) -> None:
        with self.world.database.transaction() as session:
            if name == "claim":
                found = leases.claim(session, 1000.0)
                if found is not None:
                    self.holders.append(found[0])
            elif name == "lose":
                where = (Batch.id == self.id) & Batch.lease_token.is_not(None)
                session.execute(update(Batch).where(where).values(lease_expires_at=1.0))
            elif name == "give_back":
                leases.give_back(session, holder)
            elif name == "validated":
                progress.validated(session, holder, 3)
            elif name == "answered":
                progress.answered(session, holder)
            elif name == "complete":
                progress.end(session, holder, status.COMPLETED, NOTHING)
            elif name == "fail":
                progress.end(session, holder, status.FAILED, NOTHING)
            else:
                reading.cancel_batch(session, self.tenant, self.id)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=14))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_only_its_holder_moves_it_and_only_forward(
    world: World, steps: list[tuple[str, int]]
) -> None:
    world.empty()
    story = Story(world)
    for name, which in steps:
        before = story.row()
        holder = story.holders[-1 - which % len(story.holders)] if story.holders else None
        lease = holder or Lease(story.id, "nobody's")
        try:
            story.step(name, lease)
        except LeaseLost:
            assert before.lease_token != lease.token
        except (ValueError, InvalidRequest):
            assert before.status not in (status.VALIDATING,) or name != "cancel"
        after = story.row()
        if after.status != before.status:
            assert after.status in status.NEXT[before.status]
            assert name == "cancel" or before.lease_token == lease.token
            assert set(after.times) == {*before.times, f"{after.status}_at"}
        if before.status in status.ENDED:
            assert (after.status, after.times) == (before.status, before.times)
        if name == "claim" and len(story.holders) > 1:
            assert len({held.token for held in story.holders}) == len(story.holders)


def test_a_held_batch_is_nobody_elses(world: World) -> None:
    story = Story(world)
    story.step("claim", Lease(story.id, ""))
    story.step("claim", Lease(story.id, ""))
    assert len(story.holders) == 1
    story.step("lose", Lease(story.id, ""))
    story.step("claim", Lease(story.id, ""))
    first, second = story.holders
    with world.database.transaction() as session, pytest.raises(LeaseLost):
        leases.renew(session, first, 10.0, completed=1, failed=0)
    with world.database.transaction() as session:
        assert leases.renew(session, second, 10.0, completed=1, failed=0) == status.VALIDATING
        leases.let_go(session, second)
        assert not leases.any_free(session)
