"""The dispatcher's connection to the Ray cluster: found out when it is lost, and made anew.

`ray://HOST:PORT` is the Ray client: the head runs the driver, and this process speaks to it alone.
`HOST:PORT` joins as a driver, which needs a raylet on this machine (`tunesmith up`); Ray ends such
a process by itself when its head is gone for a minute.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]
import ray
import structlog

from tunesmith.platform.domain.errors import Unavailable

log = structlog.get_logger()

CLIENT = "ray://"
_PROBE_SECONDS = 2.0
_RECONNECT_SECONDS = 5
"""An outage of the network that the client bridges. The head keeps what a dispatcher that died had
(its GPUs, too) for as long."""
_FIGURES_SECONDS = 1.0
_ENVIRONMENT = {
    # Read by the client when it connects, and told to the head.
    "RAY_CLIENT_RECONNECT_GRACE_PERIOD": str(_RECONNECT_SECONDS),
    # Three tries then take less than a lease, not half a minute.
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "2",
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "4",
}

Figures = Mapping[str, float]


class RayUnavailable(Unavailable):
    """There is no connection to the Ray cluster; the message says which and why."""


class RayCluster:
    """The cluster at an address. For one thread, but for `total`, which threads may ask as well."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._clock = clock
        self._figures: dict[str, tuple[float, Figures]] = {}
        self.connected = False

    def connect(self) -> None:
        """Join the cluster.

        Raises:
            RayUnavailable: it does not answer, or refuses this process.
        """
        self._probe()
        for variable, value in _ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        with _own_signals():
            self._join()
        self.connected = True
        log.info("ray joined", ray=self.address)

    def _join(self) -> None:
        try:
            ray.init(
                address=self.address,
                namespace="tunesmith",
                logging_level="warning",
                log_to_driver=True,
                configure_logging=False,
            )
        except (OSError, RuntimeError, grpc.RpcError, ray.exceptions.RayError) as error:
            self.disconnect()  # what was made halfway
            why = first_line(error)
            if "connection timeout" in why:  # which the client says of any refusal
                why = (
                    "it listens and lets nobody in: RAY_AUTH_MODE and RAY_AUTH_TOKEN must be the"
                    " cluster's, and Ray's version as well"
                )
            raise RayUnavailable(self._sentence(why)) from error

    def disconnect(self) -> None:
        """Leave the cluster; actors and tasks of this process end with that."""
        self.connected = False
        self._figures.clear()
        try:
            ray.shutdown()
        except (OSError, RuntimeError, grpc.RpcError) as error:  # it is gone, which was wanted
            log.info("ray left", why=first_line(error))

    def is_lost(self, error: Exception) -> bool:
        """Whether this error means that the connection is gone."""
        if isinstance(error, ConnectionError | grpc.RpcError):
            return True
        return self.connected and not ray.is_initialized()

    def check(self) -> None:
        """Notice a lost connection even while nothing is asked of the cluster.

        Raises:
            RayUnavailable: it is lost.
        """
        if self.connected and not ray.is_initialized():
            raise RayUnavailable(self._sentence("the connection was lost"))

    def total(self) -> Figures:
        """Resources of all nodes that are there, a moment old at most."""
        return self._cached("total", ray.cluster_resources)

    def free(self) -> Figures:
        """Resources that nothing uses, a moment old at most."""
        return self._cached("free", ray.available_resources)

    def _cached(self, name: str, ask: Callable[[], Figures]) -> Figures:
        # Ray's head is asked for them, which takes milliseconds of every pass otherwise.
        known = self._figures.get(name)
        if known is None or self._clock() - known[0] > _FIGURES_SECONDS:
            known = self._figures[name] = (self._clock(), dict(ask()))
        return known[1]

    def _probe(self) -> None:
        """Fail soon where nothing listens: Ray itself tries for half a minute."""
        host, _, port = self.address.removeprefix(CLIENT).rpartition(":")
        if not host or not port.isdigit():
            return  # a form such as "auto", which names no place
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS):
                pass
        except OSError as error:
            raise RayUnavailable(self._sentence(str(error))) from error

    def _sentence(self, why: str) -> str:
        return f"The Ray cluster at {self.address} is not available: {why}."


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's ways to be stopped: Ray has SIGTERM end its drivers at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_line(error: BaseException) -> str:
    """What the error says, for a sentence."""
    details = getattr(error, "details", None)  # of gRPC's errors, where the call had begun
    text = details() if callable(details) else str(error)
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # "Initialization failure from server:" and a traceback: the reason is its last line.
    return (lines[-1] if lines[0].endswith(":") else lines[0]).rstrip(".")
