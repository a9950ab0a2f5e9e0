"""Ports of this machine."""

from __future__ import annotations

import errno
import random
import socket

from .errors import CannotStart

LOOPBACK = "127.0.0.1"


_CANDIDATES = range(20_000, 30_000)
"""Below the ports that systems give to outgoing connections, above those of Ray's workers."""


def free_port(host: str = LOOPBACK) -> int:
    """A port that nothing listens on now.

    Raises:
        CannotStart: none was found.
    """
    for port in random.sample(_CANDIDATES, k=100):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CannotStart(f"No free port was found on {host}.")


def check_port(host: str, port: int) -> None:
    """Return when the gateway can listen there.

    Raises:
        CannotStart: the port is taken, needs more rights, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotStart(
            f"{host!r} is not an address of this machine ({error.strerror}). Choose another"
            " --host, for example 127.0.0.1 or 0.0.0.0."
        ) from error
    try:
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a port whose last connections only linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise CannotStart(_explain(host, port, error)) from error


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use by another program. Stop that, or choose another"
            f" port: --port {port + 1 if port < 65535 else port - 1}."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} needs rights that you do not have; choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; choose another with --host."
    return f"{host}:{port} cannot be listened on: {error}."


def is_listening(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
