"""Probes and lifecycle hooks: what the kubelet does to a running container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .fields import Fields


@dataclass(frozen=True)
class Exec:
    """A command in the container; 0 is success."""

    command: tuple[str, ...]


@dataclass(frozen=True)
class HttpGet:
    """A request of the kubelet's to the pod's address; 200 to 399 is success."""

    port: int | str
    path: str
    scheme: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class TcpSocket:
    """A connection of the kubelet's."""

    port: int | str


@dataclass(frozen=True)
class Sleep:
    """Seconds that a hook does nothing."""

    seconds: float


Action = Exec | HttpGet | TcpSocket | Sleep


@dataclass(frozen=True)
class Probe:
    """Times in seconds."""

    action: Action
    delay: float
    period: float
    timeout: float
    successes: int
    failures: int


@dataclass(frozen=True)
class Lifecycle:
    before_stop: Action | None = None
    after_start: Action | None = None


def read_probe(fields: Fields | None) -> Probe | None:
    if fields is None:
        return None
    with fields:
        return Probe(
            action=_read_action(fields),
            delay=float(fields.take("initialDelaySeconds", 0)),
            period=float(fields.take("periodSeconds", 10)),
            timeout=float(fields.take("timeoutSeconds", 1)),
            successes=int(fields.take("successThreshold", 1)),
            failures=int(fields.take("failureThreshold", 3)),
        )


def read_lifecycle(fields: Fields | None) -> Lifecycle:
    if fields is None:
        return Lifecycle()
    with fields:
        hooks: dict[str, Action | None] = {"preStop": None, "postStart": None}
        for name in hooks:
            hook = fields.inner(name)
            if hook is not None:
                with hook:
                    hooks[name] = _read_action(hook)
        return Lifecycle(before_stop=hooks["preStop"], after_start=hooks["postStart"])


def _read_action(fields: Fields) -> Action:
    command = fields.inner("exec")
    if command is not None:
        with command:
            return Exec(tuple(command.take("command")))
    request = fields.inner("httpGet")
    if request is not None:
        with request:
            headers = {}
            for header in request.each("httpHeaders"):
                with header:
                    headers[header.take("name")] = header.take("value")
            return HttpGet(
                port=request.take("port"),
                path=request.take("path", "/"),
                scheme=request.one_of("scheme", ("HTTP", "HTTPS"), "HTTP"),
                headers=headers,
            )
    connection = fields.inner("tcpSocket")
    if connection is not None:
        with connection:
            return TcpSocket(connection.take("port"))
    pause = fields.inner("sleep")
    if pause is not None:
        with pause:
            return Sleep(float(pause.take("seconds")))
    raise fields.refusal()
