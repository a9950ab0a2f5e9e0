"""Acting out probes and hooks, and counting what they say."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..manifests.actions import Action, Exec, HttpGet, Probe, Sleep, TcpSocket

Executor = Callable[[Sequence[str], float], int]
"""Runs a command in the container, for so many seconds at most, and says its exit code."""

# Probes are asked at least this often, with the same patience in all: tests wait less.
_MOST_BETWEEN = 1.0


def act(
    action: Action, *, address: str, ports: Mapping[str, int], timeout: float, run: Executor
) -> str:
    """Do it once; why it failed, empty where it did not."""
    if isinstance(action, Sleep):
        time.sleep(min(action.seconds, timeout))
        return ""
    if isinstance(action, Exec):
        code = run(action.command, timeout)
        return "" if code == 0 else f"{' '.join(action.command)} ended with {code}"
    port = ports[action.port] if isinstance(action.port, str) else action.port
    try:
        if isinstance(action, TcpSocket):
            socket.create_connection((address, port), timeout).close()
            return ""
        return _get(action, address, port, timeout)
    except (OSError, http.client.HTTPException) as error:
        return f"{address}:{port}: {error!r}"


def _get(action: HttpGet, address: str, port: int, timeout: float) -> str:
    if action.scheme == "HTTPS":  # the kubelet trusts any certificate
        trusting = ssl._create_unverified_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, port, timeout=timeout, context=trusting
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        headers = {"User-Agent": "kube-probe/1.34", **action.headers}
        connection.request("GET", action.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(2048)
        if 200 <= answer.status < 400:
            return ""
        return f"GET {action.path}: {answer.status} {body[:200].decode(errors='replace')}"
    finally:
        connection.close()


@dataclass
class Watch:
    """A probe's count of successes and failures since the container started.

    Attributes:
        state: what it says; None before it has said anything.
        why: the last failure.
    """

    probe: Probe
    started: float
    state: bool | None = None
    why: str = ""
    _good: int = 0
    _bad: int = 0
    due: float = field(init=False)

    def __post_init__(self) -> None:
        self.due = self.started + self.probe.delay
        self._period = min(self.probe.period, _MOST_BETWEEN)
        self._failures = math.ceil(self.probe.failures * self.probe.period / self._period)

    def ask(self, *, address: str, ports: Mapping[str, int], run: Executor) -> None:
        """Act the probe out, and count."""
        why = act(
            self.probe.action, address=address, ports=ports, timeout=self.probe.timeout, run=run
        )
        self.due = time.monotonic() + self._period
        if why:
            self.why, self._bad, self._good = why, self._bad + 1, 0
            if self._bad >= self._failures:
                self.state = False
        else:
            self._good, self._bad = self._good + 1, 0
            if self._good >= self.probe.successes:
                self.state = True
