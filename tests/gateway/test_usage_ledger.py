"""The ledger: exact while writes fail and answers are lost, and bounded by what is in use."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from tests.gateway.gateways import Gateway, Tenant, wait_for

from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Tenant as TenantRow
from tunesmith.platform.database.models import Usage, UsageBatch
from tunesmith.platform.domain.errors import Unavailable
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.usage import Counts
from tunesmith.platform.usage.batches import KEPT_SECONDS, add_batch, forget_batches, void_batch

# No shrinking: the database remembers, so that it takes minutes.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


class Flaky(Database):
    """A database that is lost before or after the commits that `fates` says so of."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.fates: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        fate = self.fates.pop(0) if self.fates else "done"
        with super().transaction() as session:
            yield session
            session.flush()
            if fate == "lost before":
                raise Unavailable("lost before the commit")
        if fate == "lost after":
            raise Unavailable("lost after the commit")


def add_tenant(database: Database, tenant_id: str) -> None:
    with database.transaction() as session:
        session.add(TenantRow(id=tenant_id, name=tenant_id, slug=tenant_id[:32], created_at=0.0))


def written(database: Database, prefix: str) -> Counter[tuple[str, str]]:
    """Requests and prompt tokens of tenants by (tenant, model)."""
    with database.reading() as session:
        rows = session.execute(
            select(Usage.tenant_id, Usage.model, Usage.requests).where(
                Usage.tenant_id.startswith(prefix)
            )
        )
        return Counter({(tenant, model): int(number) for tenant, model, number in rows})


class LedgerMachine(RuleBasedStateMachine):
    """Records, flushes and restarts in any order, while the database does what it likes."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.prefix = random_text(12)
        self.database = Flaky(url)
        self.expected: Counter[tuple[str, str]] = Counter()
        self.known = {f"{self.prefix}-a"}
        add_tenant(self.database, f"{self.prefix}-a")
        self.runner = asyncio.Runner()
        self.ledger = self.new_ledger()

    def new_ledger(self) -> UsageLedger:
        # Not entered: the machine says when it writes.
        return UsageLedger(self.database, closing_seconds=0)

    @rule(
        tenant=st.sampled_from(["a", "b"]),
        model=st.sampled_from(["ft:a", "ft:b", "ft:c"]),
        times=st.integers(1, 3),
    )
    def record(self, tenant: str, model: str, times: int) -> None:
        tenant_id = f"{self.prefix}-{tenant}"
        for _ in range(times):
            self.ledger.record(tenant_id, "key-1", model, "", 10, 2, 1)
        self.expected[tenant_id, model] += times

    @rule(fates=st.lists(st.sampled_from(["lost before", "lost after", "done"]), max_size=6))
    def fail(self, fates: list[str]) -> None:
        self.database.fates = list(fates)

    @rule()
    def flush(self) -> None:
        self.runner.run(self.ledger.flush())

    @precondition(lambda self: len(self.known) == 1)
    @rule()
    def create_the_tenant_that_was_missing(self) -> None:
        self.database.fates = []
        add_tenant(self.database, f"{self.prefix}-b")
        self.known.add(f"{self.prefix}-b")

    @precondition(lambda self: len(self.known) == 2)
    @rule()
    def restart(self) -> None:
        self.database.fates = []
        self.runner.run(self.ledger.__aexit__(None, None, None))
        assert written(self.database, self.prefix) == self.expected
        self.ledger = self.new_ledger()

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert written(self.database, self.prefix) <= self.expected

    def teardown(self) -> None:
        self.database.fates = []
        if len(self.known) == 1:
            # Of the tenant that is not there nothing can be written; all the rest is.
            self.runner.run(self.ledger.flush())
            here = {key: n for key, n in self.expected.items() if key[0] in self.known}
            assert written(self.database, self.prefix) == Counter(here)
            add_tenant(self.database, f"{self.prefix}-b")
        self.runner.run(self.ledger.__aexit__(None, None, None))
        assert written(self.database, self.prefix) == self.expected
        self.runner.close()
        self.database.dispose()


def test_totals_are_exact_whatever_the_database_does(gateway: Gateway) -> None:
    run_state_machine_as_test(
        partial(LedgerMachine, gateway.database.url),  # type: ignore[arg-type]
        settings=settings(max_examples=15, stateful_step_count=20, deadline=None, phases=_PHASES),
    )


def test_what_waits_for_the_database_is_one_row_for_a_key_and_model(
    gateway: Gateway, tenant: Tenant
) -> None:
    database = Flaky(gateway.database.url)
    database.fates = ["lost after"] + ["lost before"] * 50

    async def use() -> None:
        async with UsageLedger(database, seconds=3600) as ledger:
            for _ in range(51):
                ledger.record(tenant.id, "key-1", "ft:a", "", 10, 2, 5)
                assert not await ledger.flush()
            assert len(ledger._pending) == len(ledger._counted) == 1
            assert await ledger.flush()

    asyncio.run(use())
    with gateway.database.reading() as session:
        [row] = session.scalars(select(Usage).where(Usage.tenant_id == tenant.id))
    assert (row.requests, row.prompt_tokens, row.cached_tokens) == (51, 510, 255)
    database.dispose()


def test_a_key_that_cannot_be_written_holds_nobody_up(gateway: Gateway, tenant: Tenant) -> None:
    before = written(gateway.database, tenant.id)

    async def use() -> None:
        async with UsageLedger(gateway.database, seconds=3600, closing_seconds=0) as ledger:
            for number in range(9):
                ledger.record(tenant.id, "key-1", f"ft:{number}", "", 1, 1)
                ledger.record("org-that-is-not-there", "key-1", f"ft:{number}", "", 1, 1)
            assert not await ledger.flush()
            assert (written(gateway.database, tenant.id) - before).total() == 9

    asyncio.run(use())


def test_the_day_turns_at_midnight(
    gateway: Gateway, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = 20_000 * 86_400.0
    now = [midnight - 0.5]
    monkeypatch.setattr("tunesmith.gateway.usage.ledger.time.time", lambda: now[0])

    async def use() -> None:
        async with UsageLedger(gateway.database, seconds=3600) as ledger:
            for moment in (midnight - 0.5, midnight, midnight + 86_399.9, midnight - 1):
                now[0] = moment
                ledger.record(tenant.id, "key-1", "ft:a", "", 1, 1)

    asyncio.run(use())
    with gateway.database.reading() as session:
        rows = session.execute(
            select(Usage.day, Usage.requests).where(Usage.tenant_id == tenant.id)
        )
        found = {str(day): int(number) for day, number in rows}
    days = [date.fromtimestamp(midnight + shift).isoformat() for shift in (-43_200, 43_200)]
    assert found == dict.fromkeys(days, 2)


_RECORDING = """
import asyncio, sys
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform.database import Database

async def main(url, tenant):
    async with UsageLedger(Database(url), seconds=0.2) as ledger:
        recorded = 0
        while True:
            for _ in range(10):
                ledger.record(tenant, "key-1", "ft:a", "", 1, 1)
            recorded += 10
            print(recorded, flush=True)
            await asyncio.sleep(0.01)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_gateway_that_is_killed_loses_the_last_moment_at_most(
    gateway: Gateway, tenant: Tenant, tmp_path: Path
) -> None:
    """What was recorded when a flush began is there; nothing is there that was not recorded."""
    url = gateway.database.engine.url.render_as_string(hide_password=False)
    log = tmp_path / "recorded"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _RECORDING, url, tenant.id], stdout=output
        )
    try:
        wait_for(lambda: written(gateway.database, tenant.id).total() > 0)
        passed = int(log.read_text().rstrip("\n").split("\n")[-1])
        # Two flushes that end after a count was printed have written that count.
        for _ in range(2):
            before = written(gateway.database, tenant.id).total()
            wait_for(lambda before=before: written(gateway.database, tenant.id).total() > before)  # type: ignore[misc]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    recorded = int(log.read_text().rstrip("\n").split("\n")[-1])
    found = written(gateway.database, tenant.id).total()
    assert passed <= found <= recorded + 10


def test_ids_of_batches_do_not_stay(gateway: Gateway, tenant: Tenant) -> None:
    new, old = random_text(), random_text()
    with gateway.database.transaction() as session:
        assert add_batch(session, new, {})
        assert add_batch(session, new, {})
        assert not void_batch(session, new)
        session.add(UsageBatch(id=old, written_at=time.time() - KEPT_SECONDS - 1))
        session.flush()
        assert forget_batches(session) >= 1
        kept = session.scalar(
            select(func.count()).where(UsageBatch.id.in_((new, old))).select_from(UsageBatch)
        )
    assert kept == 1


def test_cached_tokens_are_counted(gateway: Gateway, tenant: Tenant) -> None:
    from tests.gateway.test_usage import counts_of

    async def use() -> None:
        async with UsageLedger(gateway.database) as ledger:
            ledger.record(tenant.id, "key-1", "ft:a", "", 10, 2, 8)
            ledger.record(tenant.id, "key-1", "ft:a", "", 10, 2)

    asyncio.run(use())
    assert counts_of(gateway.database, tenant.id) == [Counts(2, 20, 4, 8)]
