"""Connections that end only at public addresses, however a name resolves."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from tunesmith.platform.webhooks.addresses import is_public


class NotPublic(OSError):
    """The host has no public address, or does not exist."""


class PublicOnly(AbstractResolver):
    """Resolves a name, and refuses it if any of its addresses is not public.

    One bad address is enough: such a name is made to get inside, not to be reached.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`.

        Raises:
            NotPublic: it has none, or one that is not public.
        """
        try:
            found = await self._resolver.resolve(host, port, family)
        except OSError as error:
            raise NotPublic(f"{host} has no address.") from error
        if not found or not all(is_public(result["host"]) for result in found):
            raise NotPublic(f"{host} has no public address.")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()


def guarded_connector(*, private: bool) -> aiohttp.TCPConnector:
    """A connector whose sockets are made only for public addresses, unless `private` are allowed.

    What is checked is the address that the socket is about to connect to, not the name: a name
    that resolves to another address the next time (DNS rebinding) gains nothing by it, and neither
    does a number in place of a name.
    """
    if private:
        return aiohttp.TCPConnector(force_close=True, use_dns_cache=False)
    return aiohttp.TCPConnector(
        resolver=PublicOnly(),
        force_close=True,
        use_dns_cache=False,
        socket_factory=public_socket,
    )


def public_socket(address: Any) -> socket.socket:
    """A socket for one resolved address: (family, type, protocol, name, (host, port, ...)).

    Raises:
        NotPublic: the address is not public.
    """
    family, kind, protocol, _, (host, *_) = address
    if not is_public(host):
        raise NotPublic(f"{host} is no public address.")
    return socket.socket(family, kind, protocol)
