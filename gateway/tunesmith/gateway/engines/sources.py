"""Where engines come from: a list, a name in DNS, or a service of Kubernetes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from .kubernetes import KubernetesSource, engine_url

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"
"""Where every pod finds its cluster's API and its own token (Kubernetes: Accessing the API from a
Pod)."""


class Source(Protocol):
    """Names engines, now; they may be others the next time."""

    name: str

    @property
    def server_name(self) -> str | None:
        """What its engines' certificates have to name; None: the hosts of their URLs."""
        ...

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        """URLs of engines, and of those that drain.

        Raises:
            OSError, ValueError: it does not answer, or not in a form that is known.
        """
        ...


class ListedSource:
    """The engines of the settings."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.name = "settings"
        self.server_name: str | None = None
        self.urls = [url.rstrip("/") for url in urls]

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        return self.urls, ()


class DnsSource:
    """Every address of a name, as a headless service has them.

    Args:
        tls: whether the engines speak TLS, with certificates of that name.
    """

    def __init__(self, host: str, port: int, *, tls: bool = False) -> None:
        self.name = f"{'dns+https' if tls else 'dns'}://{host}:{port}"
        self.server_name = host if tls else None
        self._scheme = "https" if tls else "http"
        self._host = host
        self._port = port

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                return (), ()  # a service without a ready pod has no address
            raise
        return [
            engine_url(self._scheme, str(address[0]), self._port) for *_, address in answers
        ], ()


def sources_of(entries: Iterable[str]) -> Sequence[Source]:
    """The sources that the setting `engines` names.

    Raises:
        ValueError: an entry that is none of the forms.
    """
    listed: list[str] = []
    found: list[Source] = []
    for entry in entries:
        parts = urlsplit(entry)
        kind, _, secured = parts.scheme.partition("+")
        tls = secured == "https"
        if secured and not tls:
            raise ValueError(_what_it_should_be(entry))
        if parts.scheme in ("http", "https") and parts.netloc:
            listed.append(entry)
        elif kind == "dns" and parts.hostname and parts.port:
            found.append(DnsSource(parts.hostname, parts.port, tls=tls))
        elif kind == "kubernetes" and parts.hostname and parts.path.strip("/"):
            service, _, port = parts.path.strip("/").partition(":")
            if not port.isdecimal():
                raise ValueError(_what_it_should_be(entry))
            found.append(
                KubernetesSource(
                    parts.hostname,
                    service,
                    int(port),
                    api=API_SERVER,
                    token=SERVICE_ACCOUNT / "token",
                    authority=SERVICE_ACCOUNT / "ca.crt",
                    tls=tls,
                )
            )
        else:
            raise ValueError(_what_it_should_be(entry))
    return ([ListedSource(listed)] if listed else []) + found


def _what_it_should_be(entry: str) -> str:
    return (
        f"TUNESMITH_ENGINES has {entry!r}, which names no engines. Write http://HOST:PORT,"
        " dns://NAME:PORT or kubernetes://NAMESPACE/SERVICE:PORT, or with TLS https://,"
        " dns+https:// or kubernetes+https://."
    )
