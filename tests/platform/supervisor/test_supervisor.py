"""The supervisor with real processes: restarts, needs, one-shot tasks, stopping, stragglers."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tunesmith.platform.supervisor.descendants import find
from tunesmith.platform.supervisor.errors import PartFailed
from tunesmith.platform.supervisor.home import Home, read_json
from tunesmith.platform.supervisor.part import Backoff, Part, PartState, PartStatus
from tunesmith.platform.supervisor.supervisor import Supervisor, kill_leftovers

RUN = f"run-{os.getpid()}"
FOREVER = "import time\nwhile True: time.sleep(60)\n"
# A child in a session of its own, as raylet and EngineCore are: no group kill reaches it.
STRAGGLER = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"],
    start_new_session=True,
)
with open(os.environ["FOLDER"] + "/stragglers", "a") as file:
    file.write(f"{child.pid}\\n")
while True: time.sleep(60)
"""


class Make(Protocol):
    def __call__(self, name: str, source: str, **more: object) -> Part: ...


def _quick() -> Backoff:
    return Backoff(first=0.01, longest=0.02)


async def _supervised(
    home: Home,
    parts: list[Part],
    body: Callable[[Supervisor], Awaitable[None]],
    on_change: Callable[[str, PartStatus], None] | None = None,
) -> Supervisor:
    supervisor = Supervisor(parts, home, run_id=RUN, on_change=on_change, backoff=_quick)
    stop = asyncio.Event()

    async def then_stop() -> None:
        try:
            await body(supervisor)
        finally:
            stop.set()

    async with asyncio.timeout(60):
        await asyncio.gather(supervisor.run(stop), then_stop())
    return supervisor


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.02)


def _stragglers(folder: Path) -> list[int]:
    file = folder / "stragglers"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_waits_double_up_to_the_longest_and_start_again_after_a_long_life() -> None:
    backoff = Backoff(first=0.5, longest=10.0, forgiven_after=60.0)
    assert [backoff.after(lived=1) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.after(lived=61) == 0.5
    assert backoff.after(lived=1) == 1


async def _restart(home: Home, part: Part, reasons: list[str]) -> Supervisor:
    def on_change(_name: str, status: PartStatus) -> None:
        if status.state == PartState.RESTARTING:
            reasons.append(status.note)

    async def body(supervisor: Supervisor) -> None:
        await _until(lambda: supervisor.status[part.name].starts >= 4)

    return await _supervised(home, [part], body, on_change)


def test_a_part_that_dies_is_started_again_and_the_reason_is_told(home: Home, script: Make) -> None:
    reasons: list[str] = []
    asyncio.run(_restart(home, script("dies", "raise SystemExit(7)"), reasons))
    assert len(reasons) >= 3
    assert all(reason.startswith("ended with exit code 7") for reason in reasons)


def test_output_goes_to_a_log_that_is_numbered_at_the_next_start(home: Home, script: Make) -> None:
    async def body(supervisor: Supervisor) -> None:
        await supervisor.wait_until_ready()

    for word in ("first", "second", "third", "fourth", "fifth"):
        part = script("talks", f"print('{word}')", once=True)
        asyncio.run(_supervised(home, [part], body))
    logs = [home.logs / f"talks{number}.log" for number in ("", ".1", ".2", ".3", ".4")]
    assert [log.read_text() for log in logs[:4]] == ["fifth\n", "fourth\n", "third\n", "second\n"]
    assert not logs[4].exists()


def test_a_part_starts_after_what_it_needs_and_ends_with_it(
    home: Home, script: Make, tmp_path: Path
) -> None:
    events: list[tuple[str, PartState]] = []
    parts = [
        script("user", FOREVER, needs=("server",)),
        script("server", FOREVER, needs=("task",)),
        script("task", "open(__import__('os').environ['FOLDER'] + '/done', 'w')", once=True),
    ]

    async def body(supervisor: Supervisor) -> None:
        await supervisor.wait_until_ready()
        assert (tmp_path / "done").exists()
        before = supervisor.status["user"].pid
        server = supervisor.status["server"].pid
        assert server is not None
        psutil.Process(server).kill()
        await _until(lambda: supervisor.status["user"].pid not in (before, None))
        await supervisor.wait_until_ready()

    asyncio.run(_supervised(home, parts, body, lambda n, s: events.append((n, s.state))))
    starts = [name for name, state in events if state == PartState.STARTING]
    assert starts == ["task", "server", "user", "server", "user"]


def test_a_failed_task_ends_everything_with_its_last_words(home: Home, script: Make) -> None:
    parts = [
        script("runs", STRAGGLER),
        script("base", "import sys; sys.exit('the directory /x does not exist')", once=True),
    ]

    async def body(supervisor: Supervisor) -> None:
        await supervisor.wait_until_ready()

    with pytest.raises(PartFailed, match="the directory /x does not exist") as raised:
        asyncio.run(_supervised(home, parts, body))
    assert raised.value.log == home.logs / "base.log"
    assert find(RUN) == []


def test_what_a_killed_part_left_is_gone_before_it_starts_again(
    home: Home, script: Make, tmp_path: Path
) -> None:
    async def body(supervisor: Supervisor) -> None:
        await _until(lambda: len(_stragglers(tmp_path)) == 1)
        pid = supervisor.status["engine"].pid
        assert pid is not None
        psutil.Process(pid).kill()
        await _until(lambda: len(_stragglers(tmp_path)) == 2)
        first, second = _stragglers(tmp_path)
        assert not _lives(first)
        assert _lives(second)

    asyncio.run(_supervised(home, [script("engine", STRAGGLER)], body))
    assert not any(map(_lives, _stragglers(tmp_path)))


def test_a_part_that_stops_answering_is_restarted(
    home: Home, script: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.platform.supervisor.supervisor.ALIVE_PAUSE", 0.01)
    answers = {"alive": True}

    async def alive() -> bool:
        return answers["alive"]

    notes: list[str] = []

    def on_change(_name: str, status: PartStatus) -> None:
        if status.state == PartState.RESTARTING:
            notes.append(status.note)
            answers["alive"] = True

    async def body(supervisor: Supervisor) -> None:
        await supervisor.wait_until_ready()
        answers["alive"] = False
        await _until(lambda: supervisor.status["engine"].starts == 2)

    asyncio.run(_supervised(home, [script("engine", FOREVER, alive=alive)], body, on_change))
    assert notes[0].startswith("it does not answer any more")


def test_stopping_ends_also_what_ignores_the_request(
    home: Home, script: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.platform.supervisor.supervisor.TERM_EARLY", 0.3)
    monkeypatch.setattr("tunesmith.platform.supervisor.supervisor.TERM_ALL", 0.6)
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{STRAGGLER}"
    polite = """
        import os, signal, sys, time
        def leave(*_):
            open(os.environ["FOLDER"] + "/left", "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        print("set", flush=True)
        while True: time.sleep(60)
    """

    async def body(supervisor: Supervisor) -> None:
        await _until(lambda: len(_stragglers(tmp_path)) == 1)
        await _until(lambda: supervisor.log_file("polite").read_text() == "set\n")

    parts = [script("stubborn", stubborn, stops_late=True), script("polite", polite)]
    supervisor = asyncio.run(_supervised(home, parts, body))
    assert (tmp_path / "left").exists()
    assert not any(map(_lives, _stragglers(tmp_path)))
    assert find(RUN) == []
    assert {status.state for status in supervisor.status.values()} == {PartState.STOPPED}
    assert not home.record_file.exists()


def test_leftovers_in_the_record_are_killed_and_others_are_not(home: Home) -> None:
    other = subprocess.Popen(["sleep", "600"])
    ours = subprocess.Popen(["sleep", "600"], env={"TUNESMITH_RUN_ID": "run-9"})
    try:
        # The pid of `other` is in the record, but with another start: it was reused.
        record = {"run_id": "run-9", "pid": 1, "processes": {str(other.pid): 12345.0}}
        assert kill_leftovers(record) == 1
        assert not _lives(ours.pid)
        assert _lives(other.pid)
    finally:
        for process in (other, ours):
            process.kill()
            process.wait()


def test_a_record_that_cannot_be_read_kills_nothing(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{half")
    assert kill_leftovers(read_json(tmp_path / "record.json")) == 0
