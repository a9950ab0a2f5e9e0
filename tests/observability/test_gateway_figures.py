"""Figures of a gateway that alerts and autoscalers go by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import update
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, wait_for

from tunesmith.gateway.engines.engine import Engine, Load
from tunesmith.gateway.engines.load import parse_load
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.metrics import REFUSALS, Metrics
from tunesmith.gateway.usage.figures import OTHER, TenantFigures
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform import tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Usage
from tunesmith.platform.domain.errors import RateLimited, Unavailable
from tunesmith.platform.usage import Counts, UsageKey

POCKET = frozenset({"pocket"})


class Nowhere:
    """A source that names no engine now, as a service scaled to none."""

    name = "nowhere"
    server_name = None

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        return (), ()


def test_what_waits_for_a_base_without_an_engine_is_counted_while_it_is_held() -> None:
    async def story() -> tuple[int, int]:
        pool = EnginePool([], wait_seconds=30, slots=1, holds=1, sources=[Nowhere()])
        async with pool:
            await asyncio.sleep(0)
            waiting = [asyncio.create_task(pool.acquire("pocket", None)) for _ in range(3)]
            while pool.waiting.now.get("pocket") != 3:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            held = sum(not task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            return held, pool.waiting.now["pocket"]

    assert asyncio.run(asyncio.wait_for(story(), 20)) == (3, 0)


def test_a_listed_engine_that_does_not_serve_the_base_is_not_waited_for() -> None:
    async def story() -> None:
        pool = EnginePool(["http://127.0.0.1:9"], wait_seconds=60, slots=1, holds=1)
        async with pool:
            pool.engines[0].came_up(frozenset({"other"}), None)
            with suppress(Unavailable):
                await pool.acquire("pocket", None)

    asyncio.run(asyncio.wait_for(story(), 20))


def test_an_engine_that_came_back_as_another_process_has_restarted() -> None:
    engine = Engine("http://e")
    engine.came_up(POCKET, None)
    engine.reported(Load(started_at=1000.0))
    engine.adapters["d"] = None
    engine.reported(Load(started_at=1000.4))  # the same, said less exactly
    assert engine.restarts == 0
    assert "d" in engine.adapters
    # Between two looks: it was never seen down.
    engine.reported(Load(started_at=2000.0))
    assert engine.restarts == 1
    assert "d" not in engine.adapters
    # Out of reach for a moment, and the same process.
    engine.went_down("It cannot be reached.")
    engine.came_up(POCKET, None)
    engine.reported(Load(started_at=2000.0))
    assert engine.restarts == 1


def test_an_engine_that_tells_no_start_counts_as_restarted_when_it_comes_back() -> None:
    engine = Engine("http://e")
    engine.came_up(POCKET, None)
    assert engine.restarts == 0
    engine.went_down("It cannot be reached.")
    engine.came_up(POCKET, None)
    assert engine.restarts == 1


def test_the_start_of_an_engine_is_read_from_its_page() -> None:
    page = 'vllm:num_requests_running{engine="0"} 2.0\nprocess_start_time_seconds 1.7e+09\n'
    found = parse_load(page)
    assert found is not None
    assert found.started_at == 1.7e9


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals_are_counted_by_reasons_that_are_listed(reason: str) -> None:
    metrics = Metrics()
    if reason.endswith("per_minute") or reason == "concurrent_requests":
        metrics.refused(RateLimited("", limited="requests", limit=reason, retry_after=1))
    else:
        metrics.refused(Unavailable("", code="never_heard_of" if reason == "other" else reason))
    counts = {
        sample.labels["reason"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "tunesmith_requests_refused_total"
    }
    assert counts == {name: float(name == reason) for name in REFUSALS}


def test_limits_and_missing_engines_are_told_apart(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.start()
    gateway = Gateway(settings_for(tmp_path, engine, requests_per_minute=1))
    tenant = gateway.tenant()
    wait_for(lambda: gateway.metric("tunesmith_engines_serving", base="pocket") == 1)
    body = {"model": "pocket", "messages": [{"role": "user", "content": "Hi"}]}
    statuses = [tenant.http.post("/v1/chat/completions", json=body).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert gateway.metric("tunesmith_requests_refused_total", reason="requests_per_minute") == 1
    other = gateway.tenant()
    engine.kill()
    assert other.http.post("/v1/chat/completions", json=body).status_code == 503
    assert gateway.metric("tunesmith_requests_refused_total", reason="engine_unavailable") == 1
    assert gateway.metric("tunesmith_whole_answer_seconds_count", base="pocket") == 1
    assert gateway.metric("tunesmith_time_to_first_token_seconds_count", base="pocket") == 0
    gateway.stop()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(made)
    return made


def test_the_ledgers_lag_is_the_age_of_the_oldest_usage_in_memory(database: Database) -> None:
    async def story() -> None:
        ledger = UsageLedger(database)
        assert ledger.lag_seconds == 0
        with database.transaction() as session:
            tenant_id = tenants.create_tenant(session, "Acme").id
            session.connection().exec_driver_sql("ALTER TABLE usage RENAME TO away")
        ledger.record(tenant_id, "k", "pocket", "", 1, 2)
        await asyncio.sleep(0.02)
        assert not await ledger.flush()
        ledger.record(tenant_id, "k", "pocket", "", 1, 2)  # newer: the lag is the older one's
        assert ledger.lag_seconds >= 0.02
        assert ledger.unwritten_rows == 2
        assert ledger.failures >= 1
        with database.transaction() as session:
            session.connection().exec_driver_sql("ALTER TABLE away RENAME TO usage")
        assert await ledger.flush()
        assert (ledger.lag_seconds, ledger.unwritten_rows) == (0, 0)

    asyncio.run(story())


def test_the_tenants_that_use_most_are_named_and_all_add_up(database: Database) -> None:
    ids = []
    with database.transaction() as session:
        ids = [tenants.create_tenant(session, f"t{number}").id for number in range(6)]
    registry = CollectorRegistry()
    figures = TenantFigures(database, registry, most=2)

    async def story() -> None:
        ledger = UsageLedger(database)
        ledger.written = figures.used
        for number, tenant_id in enumerate(ids):
            ledger.record(tenant_id, "k", "pocket", "", 0, 10 * number)
        await ledger.flush()
        await figures.choose()
        assert requests(registry) == {OTHER: 6, ids[4]: 0, ids[5]: 0}
        for tenant_id in ids:
            ledger.record(tenant_id, "k", "pocket", "", 0, 1)
        await ledger.flush()
        assert requests(registry) == {OTHER: 10, ids[4]: 1, ids[5]: 1}
        with database.transaction() as session:
            session.execute(
                update(Usage).where(Usage.tenant_id == ids[0]).values(completion_tokens=9_999)
            )
        await figures.choose()
        # Whose place was taken has no series any more; the one that took it begins at 0.
        assert requests(registry) == {OTHER: 10, ids[0]: 0, ids[5]: 1}

    asyncio.run(story())
    figures.used({UsageKey(ids[2], "k", "pocket", "", "2026-01-01"): Counts(1, 2, 3)})
    assert requests(registry)[OTHER] == 11


def requests(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.labels["tenant"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "tunesmith_tenant_requests_total"
    }
