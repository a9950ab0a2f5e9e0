"""What a part of the platform is, and how it does."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

import httpx

from .ports import is_listening

Probe = Callable[[], Awaitable[bool]]


class PartState(StrEnum):
    """How a part does."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Part:
    """A process of the platform."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Probe | None = None
    """Asked until it says yes; where there is none, a living process is ready."""
    alive: Probe | None = None
    """Asked while it is ready: several noes in a row, and it is restarted."""
    needs: tuple[str, ...] = ()
    """Parts that must be ready before this one starts; it restarts when one of them does."""
    once: bool = False
    """A task that ends: ready when its exit code is 0, and else the platform cannot run."""
    stops_late: bool = False
    """Others need it while they stop."""


@dataclass
class PartStatus:
    """How a part does now. Times are seconds since the epoch."""

    state: PartState = PartState.WAITING
    note: str = ""
    since: float = field(default_factory=time.time)
    starts: int = 0
    deaths_in_a_row: int = 0
    pid: int | None = None


@dataclass
class Backoff:
    """Growing waits between restarts: `first` seconds, doubling to `longest`.

    A part that lived for `forgiven_after` seconds starts again with `first`.
    """

    first: float = 0.5
    longest: float = 10.0
    forgiven_after: float = 60.0
    _next: float = field(init=False, default=0.0)

    def after(self, lived: float) -> float:
        """The wait before the next start of a part that lived for `lived` seconds."""
        if self._next == 0.0 or lived >= self.forgiven_after:
            self._next = self.first
        wait = self._next
        self._next = min(wait * 2, self.longest)
        return wait


@cache
def _authorities() -> ssl.SSLContext:
    """Read once: a client that reads them itself takes 30 to 50 ms of CPU."""
    return ssl.create_default_context()


@cache
def _anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answers(url: str, *, within: float = 10.0, of_any_name: bool = False) -> Probe:
    """Whether GET `url` is 200 within so many seconds.

    Args:
        of_any_name: whoever answers is believed, as by Kubernetes' probes: for a process of this
            machine whose certificate is for the name that others know it by.
    """
    authorities = _anybody if of_any_name else _authorities

    async def probe() -> bool:
        try:
            # No proxy of the environment stands between processes of one machine.
            async with httpx.AsyncClient(
                timeout=within, trust_env=False, verify=authorities()
            ) as client:
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    return probe


def accepts(host: str, port: int) -> Probe:
    """Whether something listens on a port of this machine."""

    async def probe() -> bool:
        return is_listening(host, port)

    return probe
