"""Work of evaluators under leases: nobody's work is done twice to its end, none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from tunesmith.platform import claims, data_reports
from tunesmith.platform.database.models import DataReport
from tunesmith.platform.domain.errors import LeaseLost

if TYPE_CHECKING:
    from tests.platform.conftest import World


def report_of(world: World, file_id: str) -> DataReport:
    with world.database.reading() as session:
        return session.scalars(select(DataReport).where(DataReport.file_id == file_id)).one()


def take(world: World, most: int = 3) -> tuple[claims.Claim, DataReport] | None:
    with world.database.transaction() as session:
        return claims.claim(session, DataReport, 60.0, max_attempts=most)


def expire(world: World) -> None:
    with world.database.transaction() as session:
        session.execute(update(DataReport).values(lease_expires_at=0.0))


def test_every_file_of_examples_asks_for_its_report_and_no_other_file(world: World) -> None:
    tenant = world.tenant()
    other = world.file(tenant, purpose="batch")
    assert report_of(world, world.training_files[tenant]).status == claims.QUEUED
    with world.database.reading() as session:
        assert other not in set(session.scalars(select(DataReport.file_id)))


def test_work_is_taken_in_order_and_held_by_one(world: World) -> None:
    tenant = world.tenant()
    second = world.file(tenant)
    first = take(world)
    assert first is not None
    assert first[1].file_id == world.training_files[tenant]
    following = take(world)
    assert following is not None
    assert following[1].file_id == second
    assert take(world) is None


def test_a_lost_holders_work_is_taken_up_and_its_word_counts_no_more(world: World) -> None:
    world.tenant()
    lost = take(world)
    expire(world)
    found = take(world)
    assert lost is not None
    assert found is not None
    with world.database.transaction() as session:
        assert claims.renew(session, DataReport, [lost[0], found[0]], 60.0) == {found[0]}
        with pytest.raises(LeaseLost):
            claims.held(session, DataReport, lost[0])
        claims.end(session, claims.held(session, DataReport, found[0]), claims.COMPLETED)
    expire(world)
    assert take(world) is None


def test_work_that_takes_its_holders_lives_fails_at_last(world: World) -> None:
    tenant = world.tenant()
    for _ in range(3):
        assert take(world) is not None
        expire(world)
    assert take(world) is None
    ended = report_of(world, world.training_files[tenant])
    assert (ended.status, ended.error and ended.error["code"]) == (claims.FAILED, "worker_lost")


def test_what_is_given_back_waits_again_without_counting(world: World) -> None:
    tenant = world.tenant()
    for _ in range(5):
        taken = take(world)
        assert taken is not None
        with world.database.transaction() as session:
            claims.give_back(session, DataReport, taken[0])
    assert report_of(world, world.training_files[tenant]).attempts == 0


def test_what_has_to_wait_is_not_in_the_way_of_what_need_not(world: World) -> None:
    tenant = world.tenant()
    second = world.file(tenant)
    first = take(world)
    assert first is not None
    with world.database.transaction() as session:
        claims.give_back(session, DataReport, first[0], after=60.0)
    following = take(world)
    assert following is not None
    assert following[1].file_id == second
    assert take(world) is None
    expire(world)
    assert take(world) is not None  # its time has come


def test_a_report_is_stored_under_its_claim_and_goes_with_its_file(
    world: World, tmp_path: Path
) -> None:
    from tunesmith.platform import files
    from tunesmith.platform.storage import Storage

    storage = Storage(str(tmp_path))
    tenant = world.tenant()
    file_id = world.training_files[tenant]
    taken = take(world)
    assert taken is not None
    with world.database.transaction() as session:
        data_reports.complete(session, taken[0], storage, tenant, {"rows": 3})
    key = report_of(world, file_id).report_key
    assert storage.get(str(key)) == b'{"rows": 3}'
    with world.database.transaction() as session:
        assert key in files.delete_file(session, tenant, file_id)
