"""Usage on both databases: what is added stays, whoever adds at once."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.platform.conftest import World

from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.usage import NOTHING, Counts, UsageKey, add_usage, usage_of

DAY = date(2026, 3, 1)


def add(world: World, used: dict[UsageKey, Counts]) -> None:
    with world.database.transaction() as session:
        add_usage(session, used)


def key(tenant_id: str, model: str = "ft:a", alias: str = "", **more: str) -> UsageKey:
    return UsageKey(
        tenant_id, more.get("key_id", "key-1"), model, alias, more.get("day", "2026-03-01")
    )


def test_counts_of_the_same_day_add_up(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    add(world, {})
    add(world, {key(tenant): Counts(1, 10, 3), key(other): Counts(7, 7, 7)})
    add(world, {key(tenant): Counts(2, 20, 4), key(tenant, key_id="key-2"): Counts(1, 1, 1)})
    add(world, {key(tenant, alias="bot"): Counts(5, 50, 5)})
    add(world, {key(tenant, day="2026-03-02"): Counts(9, 9, 9)})
    with world.database.reading() as session:
        rows = usage_of(session, tenant, DAY, DAY)
        of_key = usage_of(session, tenant, DAY, date(2026, 3, 2), "key-1")
    assert [(row.day, row.model, row.alias, row.counts) for row in rows] == [
        (DAY, "ft:a", "", Counts(4, 31, 8)),
        (DAY, "ft:a", "bot", Counts(5, 50, 5)),
    ]
    assert [row.counts for row in of_key] == [
        Counts(3, 30, 7),
        Counts(5, 50, 5),
        Counts(9, 9, 9),
    ]


def test_gateways_that_write_at_once_lose_nothing(world: World) -> None:
    tenant = world.tenant()
    models = [f"ft:{number}" for number in range(20)]

    def write(turn: int) -> None:
        order = models if turn % 2 else models[::-1]
        add(world, {key(tenant, model): Counts(1, 2, 3) for model in order})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    with world.database.reading() as session:
        rows = usage_of(session, tenant, DAY, DAY)
    assert {row.model: row.counts for row in rows} == dict.fromkeys(models, Counts(40, 80, 120))


COUNTS = st.builds(Counts, st.integers(0, 10**6), *[st.integers(0, 10**12)] * 3)
NAMES = st.tuples(
    st.sampled_from(["ft:a", "ft:B", "é"]),
    st.sampled_from(["", "bot"]),
    st.sampled_from(["2026-03-01", "2026-03-02"]),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(NAMES, COUNTS)))
def test_any_writes_are_read_back_as_their_sums(
    world: World, writes: list[dict[tuple[str, str, str], Counts]]
) -> None:
    tenant = world.tenant(f"t {random_text(12)}")
    expected: defaultdict[tuple[str, str, str], Counts] = defaultdict(lambda: NOTHING)
    for write in writes:
        add(world, {UsageKey(tenant, "key-1", *name): counts for name, counts in write.items()})
        for name, counts in write.items():
            expected[name] = expected[name].plus(counts)
    with world.database.reading() as session:
        rows = usage_of(session, tenant, DAY, date(2026, 3, 2))
    found = {(row.model, row.alias, row.day.isoformat()): row.counts for row in rows}
    assert found == dict(expected)
