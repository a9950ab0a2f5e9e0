"""Engines of a service of Kubernetes: the pods that its EndpointSlices name as ready."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=10.0, sock_connect=2.0)


class KubernetesSource:
    """The service `service` in `namespace`.

    Args:
        port: at which the pods listen, which may be another than the service's.
        api: URL of the API server.
        token: file with the service account's token; read each time, for it is replaced hourly.
        authority: file with the certificate that the API server's is signed by.
        tls: whether the pods speak TLS, with certificates of the service's name.
    """

    def __init__(
        self,
        namespace: str,
        service: str,
        port: int,
        *,
        api: str,
        token: Path,
        authority: Path,
        tls: bool = False,
    ) -> None:
        self.name = f"{'kubernetes+https' if tls else 'kubernetes'}://{namespace}/{service}:{port}"
        self.server_name = f"{service}.{namespace}.svc" if tls else None
        self._scheme = "https" if tls else "http"
        self._port = port
        self._token = token
        self._authority = authority
        self._url = (
            f"{api}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            f"?labelSelector=kubernetes.io/service-name%3D{service}"
        )

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        """URLs of the ready pods, and of those that end.

        Raises:
            OSError, ValueError: the API server does not answer, refuses, or says something else.
        """
        headers = {"authorization": f"Bearer {self._token.read_text().strip()}"}
        secured: ssl.SSLContext | bool = True
        if self._url.startswith("https:"):
            secured = ssl.create_default_context(cafile=str(self._authority))
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(self._url, headers=headers, ssl=secured) as response,
            ):
                if response.status != HTTPStatus.OK:
                    raise OSError(
                        f"{self.name}: the API server answers {response.status}. The gateway's"
                        " service account needs `list` on endpointslices in discovery.k8s.io."
                    )
                listed = await response.json()
        except aiohttp.ClientError as error:
            raise OSError(f"{self.name}: {error!r}") from error
        return self._parse(listed)

    def _parse(self, listed: Any) -> tuple[Iterable[str], Iterable[str]]:
        ready, ending = set[str](), set[str]()
        try:
            for part in listed["items"]:
                for endpoint in part.get("endpoints") or ():
                    conditions = endpoint.get("conditions") or {}
                    urls = {
                        engine_url(self._scheme, address, self._port)
                        for address in endpoint["addresses"]
                    }
                    if conditions.get("terminating"):
                        ending |= urls
                    elif conditions.get("ready") is not False:  # unknown counts as ready
                        ready |= urls
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.name}: not a list of EndpointSlices: {error!r}") from error
        return ready, ending - ready


def engine_url(scheme: str, address: str, port: int) -> str:
    """URL of an engine at an address of IPv4 or IPv6."""
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"
