"""Reports on both databases: every figure is added up once, however it is grouped and priced."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from tests.platform.conftest import World
from tests.platform.usage.test_price_sheet import SHEET, read

from tunesmith.platform import files, models
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.usage import Counts, UsageKey, add_usage
from tunesmith.platform.usage import report as report_module
from tunesmith.platform.usage.report import DIMENSIONS, Report, usage_report
from tunesmith.platform.usage.stored import GIB, sample, stored_in

START, END = date(2026, 1, 25), date(2026, 2, 5)


def report(world: World, tenant_id: str | None, *group_by: str, **more: Any) -> Report:
    with world.database.reading() as session:
        asked = {"start": START, "end": END} | more
        return usage_report(session, tenant_id=tenant_id, group_by=group_by, **asked)


def add(world: World, tenant_id: str, day: str, counts: Counts, **of: str) -> None:
    key = UsageKey(
        tenant_id, of.get("key", "key-1"), of.get("model", "pocket"), of.get("alias", ""), day
    )
    with world.database.transaction() as session:
        add_usage(session, {key: counts})


def trained(world: World, tenant_id: str, moment: datetime, tokens: int) -> str:
    name = world.model(tenant_id)
    with world.database.transaction() as session:
        session.execute(
            update(Job)
            .where(Job.fine_tuned_model == name)
            .values(finished_at=moment.timestamp(), trained_tokens=tokens)
        )
    return name


def test_training_counts_on_the_day_on_which_it_ended(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    add(world, tenant, "2026-01-25", Counts(1, 10, 5, 2))
    first = trained(world, tenant, datetime(2026, 1, 25, tzinfo=UTC), 100)
    last = trained(world, tenant, datetime(2026, 2, 5, 23, 59, 59, tzinfo=UTC), 200)
    trained(world, tenant, datetime(2026, 2, 6, tzinfo=UTC), 400)
    trained(world, tenant, datetime(2026, 1, 24, 23, 59, 59, tzinfo=UTC), 800)
    trained(world, other, datetime(2026, 1, 26, tzinfo=UTC), 1600)
    found = report(world, tenant, "day", "model")
    assert {(ln.names["day"], ln.names["model"]): ln.training_tokens for ln in found.lines} == {
        ("2026-01-25", "pocket"): 0,
        ("2026-01-25", first): 100,
        ("2026-02-05", last): 200,
    }
    assert report(world, tenant).total().training_tokens == 300
    assert report(world, None, "tenant").total().training_tokens == 1900
    # A job is no key's.
    assert report(world, tenant, "model", key_id="key-1").total().training_tokens == 0


def test_costs_follow_the_price_of_the_day(world: World, tmp_path: Path) -> None:
    tenant = world.tenant()
    sheet = read(tmp_path, SHEET)
    add(world, tenant, "2026-01-31", Counts(1, 1_000_000, 0))
    add(world, tenant, "2026-02-01", Counts(1, 1_000_000, 0))
    add(world, tenant, "2026-02-01", Counts(1, 1_000_000, 0), model="another")
    for group_by in ((), ("day",), ("model",), ("key",), ("day", "model", "alias", "key")):
        found = report(world, tenant, *group_by, sheet=sheet)
        assert found.total().cost == pytest.approx(3.0), group_by
        assert found.unpriced_models == ["another"]
        assert not found.total().is_priced
    by_model = {ln.names["model"]: ln.cost for ln in report(world, tenant, "model").lines}
    assert by_model == {"pocket": None, "another": None}
    assert report(world, tenant).cost() is None
    priced = report(world, tenant, "model", sheet=sheet)
    assert {ln.names["model"]: ln.cost for ln in priced.lines} == {"pocket": 3.0, "another": None}


def test_storage_is_the_most_of_a_day(world: World, tmp_path: Path) -> None:
    tenant, other = world.tenant(), world.tenant()
    world.model(tenant, "a" * 64)
    world.model(tenant, "a" * 64)
    name = world.model(tenant, "b" * 64)

    def seen(day: date) -> int:
        with world.database.transaction() as session:
            sample(session, day)
            [row] = stored_in(session, tenant, day, day, ["day"])
            assert row.names == {"day": day.isoformat()}
            return row.bytes

    most = seen(START)
    assert most > 20_000
    with world.database.transaction() as session:
        models.delete_model(session, tenant, name)
        files.delete_file(session, tenant, world.training_files[tenant])
    assert seen(START) == most
    assert seen(END) == 10_000
    sheet = read(tmp_path, SHEET)
    by_day = report(world, tenant, "day", sheet=sheet)
    assert [line.bytes for line in by_day.storage] == [most, 10_000]
    [whole] = report(world, tenant, sheet=sheet).storage
    assert whole.bytes is None
    assert whole.gib_months == pytest.approx((most + 10_000) / GIB / (365.25 / 12))
    assert whole.cost == pytest.approx(whole.gib_months * 0.5)
    assert report(world, tenant, sheet=sheet).cost() == pytest.approx(whole.cost)
    assert {line.names["tenant"] for line in report(world, None, "tenant").storage} == {
        tenant,
        other,
    }
    assert report(world, tenant, key_id="key-1").storage == []


def test_too_many_lines_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = world.tenant()
    for number in range(4):
        add(world, tenant, "2026-01-31", Counts(1, 1, 1), model=f"m{number}")
    monkeypatch.setattr(report_module, "MAX_LINES", 3)
    with pytest.raises(InvalidRequest, match="more than 3 lines"):
        report(world, tenant, "model")
    assert len(report(world, tenant, "day").lines) == 1


USES = st.lists(
    st.tuples(
        st.sampled_from(["pocket", "ft:pocket:acme::2", "other"]),
        st.sampled_from(["", "bot"]),
        st.sampled_from(["key-1", "key-2"]),
        st.integers(-1, 12),
        st.builds(
            Counts,
            st.integers(1, 9),
            st.integers(10**6, 2 * 10**6),
            st.integers(0, 10**6),
            st.integers(0, 10**6),  # cached tokens are of the prompt
        ),
    ),
    max_size=12,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(USES)
def test_totals_do_not_depend_on_the_grouping(
    world: World, tmp_path: Path, uses: list[tuple[str, str, str, int, Counts]]
) -> None:
    tenant = world.tenant(f"t {random_text(12)}")
    sheet = read(tmp_path, SHEET)
    requests, cost = 0, 0.0
    for model, alias, key, shift, counts in uses:
        day = START + timedelta(days=shift)
        add(world, tenant, day.isoformat(), counts, model=model, alias=alias, key=key)
        if START <= day <= END:
            price = sheet.of_model(model, day)
            requests += counts.requests
            cost += price.cost(counts, 0) if price else 0.0
    names = tuple(DIMENSIONS)
    for size in range(len(names) + 1):
        for group_by in list(combinations(names, size))[:4]:
            found = report(world, tenant, *group_by, sheet=sheet)
            assert found.total().counts.requests == requests
            assert (found.total().cost or 0.0) == pytest.approx(cost)
            assert len({tuple(ln.names.values()) for ln in found.lines}) == len(found.lines)
