"""A container from its first start to its last end, with its probes, as the kubelet keeps it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..manifests.actions import Action, Sleep
from ..manifests.pods import Container
from .probes import Watch, act
from .spawning import Held
from .starting import Turn, Turns

# The kubelet's own: 10 s, doubled each time up to 5 minutes, forgotten after 10 minutes of running.
# Here a tenth of it, so that a test that kills does not wait for a minute.
_FIRST_PAUSE, _LONGEST_PAUSE, _CALM = 1.0, 30.0, 60.0
_NEVER = float("inf")
_TICK = 0.25

Tell = Callable[[str], None]


class RunningContainer:
    """Runs in the thread that calls `keep`.

    Args:
        grace: seconds that it gets when a failing probe ends it.
        orders: makes the orders for a start; called anew for each, as references are read anew.
        tell: is given one sentence for each thing that happens.
    """

    def __init__(
        self,
        described: Container,
        *,
        address: str,
        log: Path,
        grace: float,
        turns: Turns,
        orders: Callable[[], dict[str, Any]],
        tell: Tell,
    ) -> None:
        self.described, self.log = described, log
        self._address, self._grace, self._orders, self._tell = address, grace, orders, tell
        self._turns = turns
        self._held: Held | None = None
        self._last_orders: dict[str, Any] = {}
        self._ending = threading.Event()
        self._watches: dict[str, Watch] = {}
        self.starts = 0
        self.exit_code: int | None = None
        self.done = threading.Event()

    @property
    def started(self) -> bool:
        """Whether it runs, and its startup probe has said so."""
        startup = self._watches.get("startup")
        return self.pid is not None and bool(startup is None or startup.state)

    @property
    def ready(self) -> bool:
        """Whether it runs and its probes say that it may be sent work."""
        readiness = self._watches.get("readiness")
        return self.started and bool(readiness is None or readiness.state)

    @property
    def pid(self) -> int | None:
        """Its process 1, as this machine numbers it."""
        held = self._held
        return held.pid if held is not None and held.wait(0) is None else None

    def why_not_ready(self) -> str:
        watches = {name: watch.why for name, watch in self._watches.items() if not watch.state}
        return f"{self.described.name}: starts {self.starts}, exit {self.exit_code}, {watches}"

    def run_once(self) -> int:
        """Start it and wait for its end; the exit code.

        Raises:
            OSError, Missing, NotUnderstood: it cannot start.
        """
        orders = self._orders()
        turn = self._turns.take(self._ending)
        if turn is None:
            return 0
        try:
            return self._run(orders, turn)
        finally:
            turn.over(started=True)

    def _run(self, orders: dict[str, Any], turn: Turn) -> int:
        with self.log.open("ab") as output:
            self._last_orders = orders
            self._held = Held(orders, output)
        self.starts += 1
        self.exit_code = None
        now = time.monotonic()
        probes = {
            "startup": self.described.startup,
            "readiness": self.described.readiness,
            "liveness": self.described.liveness,
        }
        self._watches = {n: Watch(probe, now) for n, probe in probes.items() if probe is not None}
        if self.described.lifecycle.after_start is not None:
            self._act(self.described.lifecycle.after_start, _LONGEST_PAUSE)
        while (code := self._held.wait(self._until_due())) is None:
            self._probe()
            turn.over(started=self.ready)
        self.exit_code = code
        self._watches = {
            n: Watch(probe, _NEVER) for n, probe in probes.items() if probe is not None
        }
        self._held.close()
        return code

    def keep(self, restart: str) -> None:
        """Start it, and again when it ends, as the pod's restart policy has it."""
        pause = _FIRST_PAUSE
        try:
            while not self._ending.is_set():
                begun = time.monotonic()
                try:
                    code = self.run_once()
                except Exception as error:  # noqa: BLE001 - told, and tried anew as the kubelet does
                    self._tell(f"{self.described.name} cannot start: {error}")
                    code = 128
                if self._ending.is_set():
                    return
                self._tell(f"{self.described.name} ended with {code}")
                if restart == "Never" or (restart == "OnFailure" and code == 0):
                    return
                if time.monotonic() - begun > _CALM:
                    pause = _FIRST_PAUSE
                self._ending.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self.done.set()

    def _until_due(self) -> float:
        dues = [watch.due for watch in self._active()]
        return min([_TICK * 4, *(due - time.monotonic() for due in dues)]) if dues else _TICK * 4

    def _active(self) -> list[Watch]:
        startup = self._watches.get("startup")
        if startup is not None and not startup.state:
            return [startup]
        return [watch for name, watch in self._watches.items() if name != "startup"]

    def _probe(self) -> None:
        for watch in self._active():
            if watch.due > time.monotonic() or self._ending.is_set():
                continue
            watch.ask(address=self._address, ports=self.described.ports, run=self.run)
            kind = next(name for name, known in self._watches.items() if known is watch)
            if kind != "readiness" and watch.state is False:
                self._tell(f"{self.described.name} is ended: its {kind} probe fails: {watch.why}")
                self.end(self._grace, restarting=True)
                return

    def end(self, grace: float, *, restarting: bool = False) -> None:
        """Hook, SIGTERM, and SIGKILL once `grace` seconds have passed in all."""
        if not restarting:
            self._ending.set()
        held = self._held
        if held is None or held.wait(0) is not None:
            return
        deadline = time.monotonic() + grace
        if self.described.lifecycle.before_stop is not None:
            self._act(self.described.lifecycle.before_stop, grace)
        held.signal(signal.SIGTERM)
        if held.wait(max(0.0, deadline - time.monotonic())) is None:
            self._tell(f"{self.described.name} is killed after {grace:g} s of grace")
            held.signal(signal.SIGKILL)
            held.wait(None)

    def kill(self) -> None:
        """SIGKILL, as out of memory: it starts again by the restart policy."""
        if self._held is not None:
            self._held.signal(signal.SIGKILL)
            self._held.wait(None)

    def close(self) -> None:
        """End it now and for good."""
        self._ending.set()
        if self._held is not None:
            self._held.close()

    def _act(self, action: Action, timeout: float) -> None:
        if isinstance(action, Sleep) and self._held is not None:
            self._held.wait(min(action.seconds, timeout))  # it may end meanwhile
            return
        why = act(
            action,
            address=self._address,
            ports=self.described.ports,
            timeout=timeout,
            run=self.run,
        )
        if why:
            self._tell(f"{self.described.name}: its hook failed: {why}")

    def run(self, command: Sequence[str], timeout: float) -> int:
        """A command in the container, as `kubectl exec`; its exit code, 124 when out of time."""
        try:
            return self.execute(command, timeout).returncode
        except subprocess.TimeoutExpired:
            return 124

    def execute(
        self, command: Sequence[str], timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """A command in the container, and what it printed.

        Raises:
            LookupError: the container does not run.
        """
        pid = self.pid
        if pid is None:
            raise LookupError(f"{self.described.name} does not run")
        orders = self._last_orders
        user = ["-S", str(orders["uid"]), "-G", str(orders["gid"])]
        enter = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", *user, "--"]
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(
                # By env, so that the program is looked for on the container's PATH, inside of it.
                [*enter, "/usr/bin/env", *command],
                env=orders["environment"],
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        raise LookupError("nsenter is missing: install Debian's util-linux")
