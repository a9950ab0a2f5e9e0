"""The supervisor: starts parts, restarts those that die, and stops all of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from .descendants import become_subreaper, find, kill_all, reap_adopted, start_time
from .errors import PartFailed
from .home import Home, write_json
from .launch import last_line, rotate, spawn
from .part import Backoff, Part, PartState, PartStatus
from .warden import Warden

log = structlog.get_logger(__name__)

TICK = 0.1  # seconds between looks at a process
PROBE_PAUSE = 0.25  # seconds between questions to a part that is not ready yet
ALIVE_PAUSE = 5.0  # seconds between questions to a part that is ready
ALIVE_REFUSALS = 3  # noes in a row after which it is restarted
TERM_EARLY = 4.0  # seconds for the parts that stop first
TERM_ALL = 8.0  # seconds after which everything left is killed

OnChange = Callable[[str, PartStatus], None]


@dataclass(frozen=True)
class _Death:
    """How a part ended. `code`: None when it could not even be started."""

    code: int | None
    reason: str


class Supervisor:
    """Runs `parts`. All of its methods belong to one event loop in one thread.

    The thread must outlive the parts: the kernel kills them when it ends.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        home: Home,
        *,
        run_id: str,
        on_change: OnChange | None = None,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self.parts = {part.name: part for part in parts}
        self.status = {part.name: PartStatus() for part in parts}
        self.home = home
        self.run_id = run_id
        self._on_change = on_change
        self._backoff = backoff
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._roots: dict[int, float] = {}
        self._warden: Warden | None = None
        self._changed = asyncio.Event()
        self._failure: PartFailed | None = None
        self._hurry = False

    def log_file(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.home.logs / f"{name}.log"

    async def run(self, stop: asyncio.Event) -> None:
        """Start all parts and keep them until `stop` is set; nothing of them is left afterwards.

        Raises:
            PartFailed: a part that runs once has failed.
            OSError: a log or the record of processes cannot be written at the start.
        """
        become_subreaper()
        for name in self.parts:
            rotate(self.log_file(name))
        self._record()
        self._warden = warden = Warden(self.run_id)
        keepers = [asyncio.create_task(self._keep(part)) for part in self.parts.values()]
        reaper = asyncio.create_task(self._reap(warden))
        stopping = asyncio.create_task(stop.wait())
        try:
            pending: set[asyncio.Task[object]] = {stopping, *keepers}
            while stopping in pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except PartFailed as failure:
            self._failure = failure
            raise
        finally:
            self._notify()
            for task in (*keepers, reaper, stopping):
                task.cancel()
            await asyncio.gather(*keepers, reaper, stopping, return_exceptions=True)
            await self._stop(warden)

    async def wait_until_ready(self) -> None:
        """Return when all parts are ready.

        Raises:
            PartFailed: a part that runs once has failed.
        """
        while not all(status.state == PartState.READY for status in self.status.values()):
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()

    def hurry(self) -> None:
        """Kill at once what is still stopping."""
        self._hurry = True

    # One part

    async def _keep(self, part: Part) -> None:
        backoff = self._backoff()
        status = self.status[part.name]
        while True:
            while not self._has_needs(part):
                await self._changed.wait()
            began = time.monotonic()
            death = await self._live(part)
            self._kill_rest(part)
            if part.once:
                if death.code == 0:
                    self._set(part.name, PartState.READY)
                    return
                raise PartFailed(self._last_words(part.name), log=self.log_file(part.name))
            wait = backoff.after(time.monotonic() - began)
            status.deaths_in_a_row += 1
            log.warning("part died", part=part.name, reason=death.reason, restart_in=wait)
            self._set(
                part.name, PartState.RESTARTING, f"{death.reason}; starts again in {wait:g} s"
            )
            await asyncio.sleep(wait)

    def _has_needs(self, part: Part) -> bool:
        return all(self.status[name].state == PartState.READY for name in part.needs)

    async def _live(self, part: Part) -> _Death:
        """Start the part and stay with it to its end."""
        status = self.status[part.name]
        status.starts += 1
        try:
            process = spawn(
                part.name,
                part.command,
                run_id=self.run_id,
                environment=part.environment,
                log=self.log_file(part.name),
            )
        except OSError as error:
            # A full disk must not end the platform: it may have room at the next try.
            return _Death(None, f"it cannot be started: {error}")
        self._processes[part.name] = process
        status.pid = process.pid
        self._watch_over(process.pid)
        self._set(part.name, PartState.STARTING)
        watching = asyncio.create_task(self._watch(part))
        try:
            while process.poll() is None and not watching.done():
                if not self._has_needs(part):
                    return await self._end(process, "what it needs was lost")
                await asyncio.sleep(TICK)
            if process.poll() is None:
                return await self._end(process, watching.result())
            return _Death(process.returncode, _exit_reason(process.returncode))
        finally:
            watching.cancel()

    async def _watch(self, part: Part) -> str:
        """Note when the part is ready; end, with the reason, when it does not answer any more."""
        if not part.once:
            while part.ready is not None and not await part.ready():  # noqa: ASYNC110 - no event
                await asyncio.sleep(PROBE_PAUSE)
            self.status[part.name].deaths_in_a_row = 0
            self._set(part.name, PartState.READY)
        refusals = 0
        while refusals < ALIVE_REFUSALS:
            await asyncio.sleep(ALIVE_PAUSE)
            if part.alive is not None:
                refusals = 0 if await part.alive() else refusals + 1
        return "it does not answer any more"

    async def _end(self, process: subprocess.Popen[bytes], reason: str) -> _Death:
        process.terminate()
        await self._exits([process], until=time.monotonic() + TERM_EARLY)
        process.kill()
        return _Death(process.wait(), reason)

    async def _exits(self, processes: Sequence[subprocess.Popen[bytes]], *, until: float) -> None:
        while any(process.poll() is None for process in processes):
            if self._hurry or time.monotonic() >= until:
                return
            await asyncio.sleep(TICK / 2)

    def _watch_over(self, pid: int) -> None:
        self._roots[pid] = start_time(pid)
        if self._warden is not None:
            self._warden.watch(pid, self._roots[pid])
        try:
            self._record()
        except OSError as error:
            log.error("the record of processes cannot be written", error=str(error))

    def _kill_rest(self, part: Part) -> None:
        """Kill what the part, now ended, left behind."""
        process = self._processes.pop(part.name, None)
        self.status[part.name].pid = None
        roots = {}
        if process is not None:
            roots[process.pid] = self._roots.pop(process.pid)
        killed = kill_all(lambda: find(self.run_id, part=part.name, roots=roots))
        if killed:
            log.info("killed what a part left behind", part=part.name, processes=killed)
        if process is not None and self._warden is not None:
            self._warden.forget(process.pid)

    def _last_words(self, name: str) -> str:
        log_file = self.log_file(name)
        words = last_line(log_file) or f"{name} ended without a word; see {log_file}"
        return words.removeprefix("Error: ")

    # All parts

    async def _stop(self, warden: Warden) -> None:
        began = time.monotonic()
        log.info("stopping")
        try:
            for late, seconds in ((False, TERM_EARLY), (True, TERM_ALL)):
                group = [
                    process
                    for name, process in self._processes.items()
                    if self.parts[name].stops_late == late
                ]
                for process in group:
                    process.terminate()
                await self._exits(group, until=began + seconds)
        finally:  # also when cancelled while waiting
            for process in self._processes.values():
                process.kill()
                process.wait()
            kill_all(lambda: find(self.run_id, roots=self._roots), within=1.5)
            warden.dismiss()
            reap_adopted([])
            self._processes.clear()
            self._roots.clear()
            self.home.record_file.unlink(missing_ok=True)
            log.info("stopped", seconds=round(time.monotonic() - began, 1))
            for name in self.parts:
                self._set(name, PartState.STOPPED)

    async def _reap(self, warden: Warden) -> None:
        while True:
            await asyncio.sleep(2.0)
            reap_adopted([warden.pid, *(p.pid for p in self._processes.values())])

    def _set(self, name: str, state: PartState, note: str = "") -> None:
        status = self.status[name]
        status.state, status.note, status.since = state, note, time.time()
        log.info("part", part=name, state=str(state), note=note or None)
        if self._on_change is not None:
            self._on_change(name, status)
        self._notify()

    def _notify(self) -> None:
        # Every waiter looks again; those that come later wait for the next change.
        self._changed.set()
        self._changed = asyncio.Event()

    def _record(self) -> None:
        """Write down what the next start would have to clean up."""
        write_json(
            self.home.record_file,
            {
                "pid": os.getpid(),
                "run_id": self.run_id,
                "processes": {str(pid): started for pid, started in self._roots.items()},
            },
        )


def kill_leftovers(record: Mapping[str, object]) -> int:
    """Kill what an earlier run left, by the record that it wrote; how many processes.

    The lock of the home must be held: the run of the record is over.
    """
    run_id = record.get("run_id")
    processes = record.get("processes")
    if not isinstance(run_id, str) or not isinstance(processes, dict):
        return 0
    roots = {int(pid): float(started) for pid, started in processes.items()}
    # A pid may be another program's by now.
    roots = {pid: began for pid, began in roots.items() if abs(start_time(pid) - began) < 1.0}
    return kill_all(lambda: find(run_id, roots=roots))


def _exit_reason(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
