"""Pages, put together, are the whole list: in order, nothing twice, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tunesmith.platform.database.models import Tenant
from tunesmith.platform.database.paging import MAX_LIMIT, page
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.files import delete_file, list_files

if TYPE_CHECKING:
    from tests.platform.conftest import World


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    count=st.integers(0, 12),
    limit=st.integers(1, 14),
    newest_first=st.booleans(),
    deleting=st.booleans(),
)
def test_pages_together_are_the_list(
    world: World, count: int, limit: int, newest_first: bool, deleting: bool
) -> None:
    tenant, other = world.tenant(), world.tenant()
    expected = [world.training_files[tenant]]
    for _ in range(count):
        expected.append(world.file(tenant))
        world.file(other)
    if newest_first:
        expected.reverse()
    seen: list[str] = []
    more = True
    while more:
        with world.database.transaction() as session:
            found = list_files(
                session,
                tenant,
                after=seen[-1] if seen else None,
                limit=limit,
                newest_first=newest_first,
            )
            ids = [file.id for file in found.items]
            if deleting:  # as a client does that deletes what it iterates over
                for file_id in ids:
                    delete_file(session, tenant, file_id)
        assert len(ids) == limit or not found.has_more
        seen += ids
        more = found.has_more
        assert len(seen) <= len(expected)
    assert seen == expected


@pytest.mark.parametrize("limit", [-1, 0, MAX_LIMIT + 1, 2**70])
def test_a_limit_out_of_range_is_refused(world: World, limit: int) -> None:
    with (
        pytest.raises(InvalidRequest, match=str(MAX_LIMIT)) as caught,
        world.database.reading() as session,
    ):
        page(session, select(Tenant), Tenant.seq, after_seq=None, limit=limit)
    assert caught.value.param == "limit"
