"""Batches worked on by runners: answered once, resumed by another, ended for a reason."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests.platform.batches.desk import Desk, Engine, Reply, error, line, number, running

from tunesmith.gateway.batches import asking, lines
from tunesmith.gateway.batches.holding import end_tasks
from tunesmith.gateway.batches.runner import BatchRunner
from tunesmith.platform import files, tenants
from tunesmith.platform.batches import leases, progress, reading
from tunesmith.platform.batches.segments import Segments
from tunesmith.platform.database.models import ApiKey, Batch, Tenant, WebhookDelivery
from tunesmith.platform.storage import Storage
from tunesmith.platform.webhooks import endpoints

if TYPE_CHECKING:
    from tests.platform.conftest import World


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    tenant = world.tenant()
    with world.database.transaction() as session:
        key, _ = tenants.create_key(session, tenant, "batches")
    return Desk(world, Storage(tmp_path / "storage"), tenant, key.id)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(asking, "_LONGEST_PAUSE", 0.01)


def test_all_requests_are_answered_into_files(desk: Desk) -> None:
    async def reply(body: dict[str, Any]) -> Reply:
        return error(400, "bad") if body["prompt"] == "r3" else Reply()

    engine = Engine(reply)
    batch = desk.batch([line(f"r{n}") for n in range(40)], output_expires_after=7200)

    async def run() -> Batch:
        async with running(desk, engine):
            return await desk.ended(batch)

    row = asyncio.run(run())
    assert (row.status, row.total, row.completed, row.failed) == ("completed", 40, 39, 1)
    assert set(row.times) == {"in_progress_at", "finalizing_at", "completed_at"}
    output, errors = desk.lines(row.output_file), desk.lines(row.error_file)
    assert {found["custom_id"] for found in output} == {f"r{n}" for n in range(40)} - {"r3"}
    assert output[0]["id"].startswith("batch_req_")
    assert output[0]["error"] is None
    assert output[0]["response"] == {
        "status_code": 200,
        "request_id": "req_1",
        "body": {"object": "chat.completion"},
    }
    assert [found["response"]["status_code"] for found in errors] == [400]
    assert sorted(engine.asked) == sorted(f"r{n}" for n in range(40))
    assert engine.most_at_once == 4
    assert len(desk.storage.list(f"batches/{batch}")) == 2
    with desk.world.database.reading() as session:
        file = files.get_file(session, desk.tenant, row.output_file or "")
    assert file.expires_at == pytest.approx(file.created_at + 7200)


def test_a_killed_runners_batch_is_finished_by_another(desk: Desk) -> None:
    """The first runner's event loop stops for good in the middle, as its process would."""
    batch = desk.batch([line(f"r{n}") for n in range(30)])
    stuck = asyncio.Event()

    async def ten_and_no_more(body: dict[str, Any]) -> Reply:
        if number(body) >= 10:
            await stuck.wait()
        return Reply()

    first, second = Engine(ten_and_no_more), Engine()
    dead = asyncio.new_event_loop()
    runner = desk.runner(first, lease=1.0)
    thread = threading.Thread(
        target=lambda: (
            dead.run_until_complete(runner.__aenter__()),
            dead.run_forever(),
        ),
        daemon=True,
    )
    thread.start()

    async def take_over() -> Batch:
        await desk.until(lambda: len(desk.storage.list(f"batches/{batch}")) > 0)
        dead.call_soon_threadsafe(dead.stop)
        await asyncio.to_thread(thread.join)
        assert desk.row(batch).lease_token is not None
        async with running(desk, second, lease=5.0):
            return await desk.ended(batch)

    row = asyncio.run(take_over())
    assert (row.status, row.completed, row.failed) == ("completed", 30, 0)
    found = [answer["custom_id"] for answer in desk.lines(row.output_file)]
    assert sorted(found) == sorted(f"r{n}" for n in range(30))
    again = set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 30 + len(again)
    assert len(again) <= 4  # those in flight at the kill
    dead.run_until_complete(_bury(dead))
    dead.close()


async def _bury(dead: asyncio.AbstractEventLoop) -> None:
    """End the tasks of a loop that was stopped."""
    await end_tasks(*(asyncio.all_tasks(dead) - {asyncio.current_task()}))


def test_a_runner_that_ends_in_order_keeps_what_has_come_and_lets_go(desk: Desk) -> None:
    batch = desk.batch([line(f"r{n}") for n in range(12)])

    async def stop_and_go_on() -> tuple[Engine, Engine, Batch]:
        stuck = asyncio.Event()

        async def some(body: dict[str, Any]) -> Reply:
            if number(body) >= 6:
                await stuck.wait()
            return Reply()

        first, second = Engine(some), Engine()
        async with running(desk, first):
            await desk.until(lambda: first.at_once == 4)
        row = desk.row(batch)
        assert (row.status, row.lease_token) == ("in_progress", None)
        async with running(desk, second):
            return first, second, await desk.ended(batch)

    first, second, row = asyncio.run(stop_and_go_on())
    found = [answer["custom_id"] for answer in desk.lines(row.output_file)]
    assert sorted(found) == sorted(f"r{n}" for n in range(12))
    assert len(set(first.asked) & set(second.asked)) <= 4


def test_a_cancel_ends_it_and_keeps_what_is_answered(desk: Desk) -> None:
    batch = desk.batch([line(f"r{n}") for n in range(12)])

    async def cancel() -> Batch:
        stuck = asyncio.Event()

        async def some(body: dict[str, Any]) -> Reply:
            if number(body) >= 6:
                await stuck.wait()
            return Reply()

        engine = Engine(some)
        async with running(desk, engine):
            await desk.until(lambda: engine.at_once == 4)
            with desk.world.database.transaction() as session:
                assert reading.cancel_batch(session, desk.tenant, batch).status == "cancelling"
            return await desk.ended(batch)

    row = asyncio.run(cancel())
    assert (row.status, row.failed) == ("cancelled", 0)
    assert {"cancelling_at", "cancelled_at"} <= set(row.times)
    assert len(desk.lines(row.output_file)) == row.completed == 6
    assert row.error_file is None


def test_what_is_left_when_its_time_is_over_goes_to_the_error_file(desk: Desk) -> None:
    batch = desk.batch([line(f"r{n}") for n in range(12)])

    async def expire() -> Batch:
        async def some(body: dict[str, Any]) -> Reply:
            return error(429, "rate_limit_exceeded") if number(body) >= 6 else Reply()

        engine = Engine(some)
        async with running(desk, engine, lease=3.0):
            await desk.until(lambda: len(engine.asked) > 20)  # asked again and again
            desk.change(Batch, Batch.id == batch, expires_at=1.0)
            row = desk.row(batch)
            assert row.status == "in_progress"
        async with running(desk, engine):
            return await desk.ended(batch)

    row = asyncio.run(expire())
    assert (row.status, row.completed, row.failed) == ("expired", 6, 6)
    errors = desk.lines(row.error_file)
    assert {found["error"]["code"] for found in errors} == {"batch_expired"}
    names = [found["custom_id"] for found in errors + desk.lines(row.output_file)]
    assert sorted(names) == sorted(f"r{n}" for n in range(12))


def test_503_is_waited_out_and_an_engine_that_fails_on_it_again_and_again_is_not(
    desk: Desk,
) -> None:
    async def reply(body: dict[str, Any]) -> Reply:
        if body["prompt"] == "poison":
            return error(503, "engine_error")
        if engine.asked.count(body["prompt"]) < 9:
            return error(503, "engine_unavailable")
        return Reply()

    engine = Engine(reply)
    batch = desk.batch([line("poison"), line("good")])

    async def run() -> Batch:
        async with running(desk, engine):
            return await desk.ended(batch)

    row = asyncio.run(run())
    assert (row.completed, row.failed) == (1, 1)
    assert engine.asked.count("good") == 9
    assert engine.asked.count("poison") == asking.ENGINE_FAILURES
    assert desk.lines(row.error_file)[0]["response"]["status_code"] == 503


def test_a_file_with_errors_fails_with_all_of_them_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LISTED", 3)
    requests = [line("a"), line("a"), line("b", url="/v1/embeddings"), line("c", method="GET")]
    requests += [line("d", body={"model": "nothing"}), line("e", body={"model": "nothing"})]
    batch = desk.batch(requests)
    empty = desk.batch(b"\n  \n")

    async def run() -> tuple[Batch, Batch]:
        async with running(desk, engine):
            return await desk.ended(batch), await desk.ended(empty)

    engine = Engine()
    row, other = asyncio.run(run())
    assert (row.status, engine.asked) == ("failed", [])
    assert row.errors is not None
    assert [(found["line"], found["code"]) for found in row.errors] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_url"),
        (4, "invalid_method"),
        (None, "more_errors"),
    ]
    assert "4 errors" in row.errors[-1]["message"]
    assert other.errors is not None
    assert [found["code"] for found in other.errors] == ["empty_file"]


def test_a_model_that_does_not_exist_is_named_once(desk: Desk) -> None:
    batch = desk.batch([line("a"), *(line(n, body={"model": "nothing"}) for n in "bc")])

    async def run() -> Batch:
        async with running(desk, Engine()):
            return await desk.ended(batch)

    row = asyncio.run(run())
    assert row.errors is not None
    assert [(e["line"], e["code"], e["param"]) for e in row.errors] == [
        (2, "model_not_found", "body.model")
    ]


@pytest.mark.parametrize("reason", ["input_file_deleted", "tenant_suspended", "key_revoked"])
def test_what_takes_its_ground_away_ends_it_with_a_reason(desk: Desk, reason: str) -> None:
    batch = desk.batch([line(f"r{n}") for n in range(12)])

    def take_away() -> None:
        if reason == "tenant_suspended":
            desk.change(Tenant, Tenant.id == desk.tenant, suspended_at=1.0)
        elif reason == "key_revoked":
            desk.change(ApiKey, ApiKey.id == desk.key, revoked_at=1.0)
        else:
            with desk.world.database.transaction() as session:
                keys = files.delete_file(session, desk.tenant, desk.row(batch).input_file)
            for key in keys:
                desk.storage.delete(key)

    async def run() -> Batch:
        stuck = asyncio.Event()

        async def some(body: dict[str, Any]) -> Reply:
            if number(body) >= 6:
                await stuck.wait()
            return Reply()

        engine = Engine(some)
        async with running(desk, engine):
            await desk.until(lambda: engine.at_once == 4)
            take_away()
            return await desk.ended(batch)

    row = asyncio.run(run())
    assert (row.status, row.completed) == ("failed", 6)
    assert row.errors is not None
    assert [found["code"] for found in row.errors] == [reason]
    assert len(desk.lines(row.output_file)) == 6


def test_batches_of_two_tenants_take_turns(desk: Desk) -> None:
    other = Desk(desk.world, desk.storage, desk.world.tenant(), desk.key)
    long = [desk.batch([line(f"{name}{n}") for n in range(30)]) for name in "ab"]
    short = other.batch([line(f"short{n}") for n in range(3)])

    async def any_model(_: str, __: str) -> None:
        """Every model is there."""

    async def run() -> None:
        runner = BatchRunner(
            desk.world.database,
            desk.storage,
            engine,
            any_model,
            concurrency=2,
            lease_seconds=30.0,
            poll_seconds=0.02,
        )
        async with runner:
            await other.ended(short)
            for batch in long:
                await desk.ended(batch)

    async def slow(_: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.05)
        return Reply()

    engine = Engine(slow)
    asyncio.run(run())
    order = engine.asked
    assert order.index("a29") > order.index("short2")  # though it came before
    assert order.index("b0") > order.index("short2")
    assert engine.most_at_once == 2
    with desk.world.database.reading() as session:
        assert set(session.scalars(select(Batch.status))) == {"completed"}


def test_what_a_holder_left_while_it_wrote_the_files_is_finished(desk: Desk) -> None:
    batch = desk.batch([line(f"r{n}") for n in range(3)])
    answers = [asking.refused(f"r{n}", "x", "y") for n in range(3)]
    with desk.world.database.transaction() as session:
        claimed = leases.claim(session, 1000.0)
        assert claimed is not None
        progress.validated(session, claimed[0], 3)
        progress.answered(session, claimed[0])
        leases.give_back(session, claimed[0])
    lost = Segments(desk.storage, batch, claimed[0].token)
    lost.write(answers[:2])
    lost.write(answers)  # as one that had lost its lease without knowing
    left = lost.put_together()
    assert left.errors is not None

    async def run() -> Batch:
        async with running(desk, engine):
            return await desk.ended(batch)

    engine = Engine()
    row = asyncio.run(run())
    assert (row.status, row.completed, row.failed, engine.asked) == ("completed", 0, 3, [])
    assert [found["custom_id"] for found in desk.lines(row.error_file)] == ["r0", "r1", "r2"]
    assert left.errors.storage_key not in desk.storage.list(f"batches/{batch}")


def test_its_end_is_told_to_the_tenants_webhooks_once(desk: Desk) -> None:
    with desk.world.database.transaction() as session:
        endpoints.create_endpoint(
            session,
            desk.tenant,
            name="ops",
            url="https://example.com/hook",
            events=["batch.completed", "batch.failed"],
        )
    done, bad = desk.batch([line("r1")]), desk.batch(b"no json\n")

    async def run() -> None:
        async with running(desk, Engine()):
            await desk.ended(done)
            await desk.ended(bad)

    asyncio.run(run())
    with desk.world.database.reading() as session:
        told = {
            (row.event_type, row.payload["data"]["id"])
            for row in session.scalars(select(WebhookDelivery))
            if row.payload["data"]["id"] in (done, bad)
        }
    assert told == {("batch.completed", done), ("batch.failed", bad)}


def test_a_fault_of_ours_is_told_without_its_inside_and_spares_the_others(desk: Desk) -> None:
    async def reply(body: dict[str, Any]) -> Reply:
        if number(body) == 1:
            raise RuntimeError("a secret place")
        return Reply()

    batch = desk.batch([line(f"r{n}") for n in range(3)])

    async def run() -> Batch:
        async with running(desk, Engine(reply)):
            return await desk.ended(batch)

    row = asyncio.run(run())
    assert (row.status, row.completed, row.failed) == ("completed", 2, 1)
    (failed,) = desk.lines(row.error_file)
    assert failed["error"]["code"] == "internal_error"
    assert "secret" not in json.dumps(failed)
