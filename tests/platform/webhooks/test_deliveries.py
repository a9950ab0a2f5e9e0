"""The outbox and the deliveries, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select, update
from tests.platform.conftest import World

from tunesmith.platform.database.models import Evaluation, WebhookDelivery, WebhookEndpoint
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.evaluations.reading import cancel_evaluation
from tunesmith.platform.webhooks import deliveries, endpoints
from tunesmith.platform.webhooks.deliveries import RETRY_SECONDS, Due
from tunesmith.platform.webhooks.events import EVENT_TYPES
from tunesmith.platform.webhooks.outbox import announce

URL = "https://example.com/hook"


def endpoint(world: World, tenant: str, *events: str) -> str:
    with world.database.transaction() as session:
        return endpoints.create_endpoint(
            session, tenant, name="mine", url=URL, events=events or EVENT_TYPES
        ).id


def rows(world: World, endpoint_id: str) -> list[WebhookDelivery]:
    with world.database.reading() as session:
        return list(
            session.scalars(
                select(WebhookDelivery)
                .where(WebhookDelivery.endpoint_id == endpoint_id)
                .order_by(WebhookDelivery.seq)
            )
        )


def claim(world: World, limit: int = 100, seconds: float = 60.0) -> list[Due]:
    with world.database.transaction() as session:
        return deliveries.claim_due(session, limit, seconds)


def do(world: World, change: Any, *given: Any, **named: Any) -> Any:
    with world.database.transaction() as session:
        return change(session, *given, **named)


def make_due(world: World) -> None:
    with world.database.transaction() as session:
        session.execute(update(WebhookDelivery).values(next_at=0.0))


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (JobStatus.SUCCEEDED, "fine_tuning.job.succeeded"),
        (JobStatus.FAILED, "fine_tuning.job.failed"),
        (JobStatus.CANCELLED, "fine_tuning.job.cancelled"),
    ],
)
def test_the_end_of_a_job_is_announced_to_those_who_asked(
    world: World, status: JobStatus, event: str
) -> None:
    tenant, other = world.tenant(), world.tenant()
    mine, every = endpoint(world, tenant, event), endpoint(world, tenant)
    nothing, foreign = endpoint(world, tenant, "batch.completed"), endpoint(world, other)
    job = world.job_in(tenant, status)
    assert rows(world, nothing) == rows(world, foreign) == []
    (sent,) = rows(world, mine)
    (also,) = rows(world, every)
    assert sent.event_id == also.event_id
    assert sent.payload["type"] == sent.event_type == event
    assert sent.payload["data"] == {"id": job}
    assert sent.payload["id"] == sent.event_id


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED])
def test_a_job_that_has_not_ended_is_not(world: World, status: JobStatus) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    if status == JobStatus.RUNNING:
        world.running_job(tenant)
    else:
        world.job_in(tenant, status)
    assert rows(world, found) == []


def test_what_is_undone_is_not_announced(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    with world.database.transaction() as session:
        announce(session, tenant, "batch.completed", "batch_1")
        session.rollback()
    assert rows(world, found) == []


def test_the_end_of_an_evaluation_is_announced(world: World) -> None:
    tenant = world.tenant()
    world.model(tenant)  # its evaluation is queued with its success
    found = endpoint(world, tenant, "eval.run.canceled")
    with world.database.transaction() as session:
        row = session.scalars(select(Evaluation)).one()
        cancel_evaluation(session, tenant, row.id)
    assert [sent.payload["data"] for sent in rows(world, found)] == [{"id": row.id}]


def test_a_delivery_is_claimed_once_and_again_when_its_holder_is_lost(world: World) -> None:
    tenant = world.tenant()
    endpoint(world, tenant)
    do(world, announce, tenant, "batch.completed", "batch_1")
    (first,) = claim(world, seconds=-1.0)
    (second,) = claim(world)
    assert claim(world) == []
    assert first.event_id == second.event_id
    do(world, deliveries.taken, first.claim, 200)  # of the one that was lost: it does not count
    assert claim(world) == []
    do(world, deliveries.taken, second.claim, 204)
    (row,) = rows(world, second.endpoint.id)
    assert (row.status, row.attempts, row.last_status) == ("delivered", 1, 204)
    with world.database.reading() as session:
        assert not deliveries.is_any_due(session)


def test_gateways_that_claim_at_once_share_the_work(world: World) -> None:
    tenants = [world.tenant() for _ in range(6)]
    for tenant in tenants:
        endpoint(world, tenant)
        do(world, announce, tenant, "batch.completed", "batch_1")
    with ThreadPoolExecutor(4) as gateways:
        claimed = list(gateways.map(lambda _: claim(world, limit=2), range(4)))
    events = [due.event_id for dues in claimed for due in dues]
    assert len(events) == len(set(events))
    events += [due.event_id for due in claim(world)]
    assert len(set(events)) == len(tenants)


def test_an_endpoint_has_only_a_few_at_once(world: World) -> None:
    tenant = world.tenant()
    slow, quick = endpoint(world, tenant, "batch.failed"), endpoint(world, tenant, "batch.expired")
    for number in range(10):
        do(world, announce, tenant, "batch.failed", f"batch_{number}")
    do(world, announce, tenant, "batch.expired", "batch_x")
    first, second = claim(world), claim(world)
    of = [due.endpoint.id for due in first]
    assert of.count(slow) == deliveries.AT_ONCE
    assert of.count(quick) == 1
    assert second == []
    do(world, deliveries.give_back, first[0].claim)
    assert len(claim(world)) == 1


def test_tries_go_on_for_three_days_and_end(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    do(world, announce, tenant, "batch.completed", "batch_1")
    waited = 0.0
    for tries, wait in enumerate(RETRY_SECONDS, start=1):
        (due,) = claim(world)
        (before,) = rows(world, found)
        do(world, deliveries.refused, due.claim, 500, "It answered 500.")
        (row,) = rows(world, found)
        assert (row.status, row.attempts, row.last_status) == ("pending", tries, 500)
        moment = float(before.lease_expires_at or 0.0) - 60.0
        assert wait <= row.next_at - moment <= wait * (1 + deliveries.JITTER) + 60.0
        assert claim(world) == []
        waited += wait
        make_due(world)
    assert 2.9 <= waited / 86400 <= 3.3
    (due,) = claim(world)
    do(world, deliveries.refused, due.claim, None, "It refused the connection.")
    (row,) = rows(world, found)
    assert (row.status, row.attempts) == ("failed", len(RETRY_SECONDS) + 1)
    make_due(world)
    assert claim(world) == []


def test_an_endpoint_that_is_gone_is_disabled_until_it_is_enabled(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    do(world, announce, tenant, "batch.completed", "batch_1")
    do(world, announce, tenant, "batch.completed", "batch_2")
    first, _ = claim(world)
    do(world, endpoints.answered_gone, first.claim)
    do(world, announce, tenant, "batch.completed", "batch_3")
    assert [row.status for row in rows(world, found)] == ["failed", "failed"]
    assert {row.last_status for row in rows(world, found)} == {410, None}
    do(world, endpoints.change_endpoint, tenant, found, enabled=True)
    do(world, announce, tenant, "batch.completed", "batch_4")
    assert len(claim(world)) == 1


def test_what_waits_for_a_deleted_endpoint_is_not_sent(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    do(world, announce, tenant, "batch.completed", "batch_1")
    do(world, endpoints.delete_endpoint, tenant, found)
    assert claim(world) == []
    with pytest.raises(NotFound):
        do(world, endpoints.get_endpoint, tenant, found)
    with pytest.raises(NotFound):
        do(world, endpoints.delete_endpoint, tenant, found)


def test_a_rotation_keeps_the_old_secret_only_when_asked_and_for_a_day(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)

    def secrets(moment_after: float) -> list[str]:
        row: WebhookEndpoint = do(world, endpoints.get_endpoint, tenant, found)
        return endpoints.secrets_of(row, row.updated_at + moment_after)

    (first,) = secrets(0.0)
    do(world, endpoints.rotate_secret, tenant, found, keep_old=True)
    second, kept = secrets(86399.0)
    assert kept == first != second
    assert secrets(86401.0) == [second]
    do(world, endpoints.rotate_secret, tenant, found, keep_old=False)
    (third,) = secrets(0.0)
    assert third not in (first, second)


def test_another_tenant_cannot_touch_an_endpoint(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    found = endpoint(world, tenant)
    for act in (
        lambda s: endpoints.get_endpoint(s, other, found),
        lambda s: endpoints.change_endpoint(s, other, found, name="theirs"),
        lambda s: endpoints.rotate_secret(s, other, found, keep_old=False),
        lambda s: endpoints.delete_endpoint(s, other, found),
        lambda s: endpoints.list_endpoints(s, other, after=found),
    ):
        with pytest.raises(NotFound):
            do(world, act)


def test_a_tenant_has_so_many_endpoints_and_no_more(world: World) -> None:
    tenant = world.tenant()
    for _ in range(endpoints.MAX_ENDPOINTS):
        endpoint(world, tenant, "batch.completed")
    with pytest.raises(InvalidRequest, match="at most"):
        endpoint(world, tenant, "batch.completed")


def test_old_deliveries_are_forgotten_but_never_those_that_wait(world: World) -> None:
    tenant = world.tenant()
    found = endpoint(world, tenant)
    for number in range(2):
        do(world, announce, tenant, "batch.completed", f"batch_{number}")
    first, _ = claim(world)
    do(world, deliveries.taken, first.claim, 200)
    assert do(world, deliveries.forget_old) == 0
    make_due(world)
    assert do(world, deliveries.forget_old) == 1
    assert [row.status for row in rows(world, found)] == ["pending"]


class Life(RuleBasedStateMachine):
    """Two gateways, one of which may be lost, send one endpoint's deliveries."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.tenant = self.world.tenant()
        self.endpoint = endpoint(self.world, self.tenant)
        self.held: list[Due] = []
        self.ended: set[str] = set()

    @rule()
    def announce(self) -> None:
        do(self.world, announce, self.tenant, "batch.completed", "batch_1")

    @rule()
    def claim(self) -> None:
        new = claim(self.world)
        taken = {due.event_id for due in self.held}
        assert not taken & {due.event_id for due in new}
        assert not self.ended & {due.event_id for due in new}
        self.held += new

    @rule()
    def lose(self) -> None:
        self.held.clear()
        with self.world.database.transaction() as session:
            session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.lease_expires_at.is_not(None))
                .values(lease_expires_at=1.0)
            )

    @rule()
    def take(self) -> None:
        if self.held:
            due = self.held.pop()
            do(self.world, deliveries.taken, due.claim, 200)
            self.ended.add(due.event_id)

    @rule()
    def refuse(self) -> None:
        if self.held:
            do(self.world, deliveries.refused, self.held.pop().claim, 500, "no")
            make_due(self.world)

    @invariant()
    def nothing_is_lost(self) -> None:
        found = rows(self.world, self.endpoint)
        assert {row.event_id for row in found if row.status == "delivered"} == self.ended
        for row in found:
            assert row.status != "pending" or row.attempts <= len(RETRY_SECONDS)


def test_nothing_is_lost_and_nothing_is_sent_by_two(sqlite_world: World) -> None:
    Life.world = sqlite_world
    Life.TestCase.settings = hypothesis_settings(
        max_examples=15, stateful_step_count=20, deadline=None
    )
    Life.TestCase("runTest").runTest()
