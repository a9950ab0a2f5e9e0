"""How it is known that who answers is an engine, where engines speak TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from tunesmith.platform.certificates import Authorities

from .engine import Engine


class EngineTrust:
    """Whose certificates are believed, and the name that each has to have.

    Args:
        authorities: those that sign engines' certificates; the system's where not given.
        engines: the pool's; those that were found by a name are reached by an address, and checked
            against that name.
    """

    def __init__(
        self, authorities: Authorities | None = None, engines: Sequence[Engine] = ()
    ) -> None:
        self._authorities = authorities or Authorities(None)
        self._engines = engines

    @property
    def context(self) -> ssl.SSLContext:
        """For new connections."""
        return self._authorities.context

    def name_of(self, url: str) -> str | None:
        """The name in the certificate of the engine at `url`; None: the host of its URL.

        Asked for connections, not for requests: there are few.
        """
        return next((e.server_name for e in self._engines if e.url == url), None)


def why_not(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, in words."""
    return f"its certificate is not believed: {error.verify_message.rstrip('.')}"
