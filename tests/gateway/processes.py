"""Gateways as processes of their own, as a cluster runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from tests.gateway.gateways import ADMIN_KEY, BASE, BASE_DIGEST, wait_for

from tunesmith.platform import bases
from tunesmith.platform.database import Database

START_SECONDS = 180
"""How long a machine that has other things to do may take to start a gateway."""

Message = dict[str, str]
HELLO: list[Message] = [{"role": "user", "content": "hi"}]


class GatewayProcess:
    """`python -m tunesmith.gateway` under `home`, with `settings` as TUNESMITH_* variables.

    Attributes:
        verify: whose certificates the test believes, where it serves HTTPS.
    """

    def __init__(self, home: Path, **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        scheme = "https" if settings.get("tls_certificate_file") else "http"
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.verify: ssl.SSLContext | bool = True
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        values = {"home": home, "port": port, "admin_key": ADMIN_KEY, "log_format": "json"}
        for name, value in (values | settings).items():
            environment[f"TUNESMITH_{name.upper()}"] = str(value)
        home.mkdir(exist_ok=True)
        self._log = home / f"gateway-{port}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.gateway"], env=environment, stderr=log, text=True
            )

    def wait_until_it_listens(self) -> None:
        wait_for(lambda: self._status("/healthz") == 200 or self._ended(), START_SECONDS)
        assert not self._ended(), self.log_text()

    def wait_until_it_serves(self) -> None:
        wait_for(lambda: self.is_ready() or self._ended(), START_SECONDS)
        assert not self._ended(), self.log_text()

    def is_ready(self) -> bool:
        return self._status("/readyz?part=database") == 200

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        return self._process.wait(60)

    def remove(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def log_text(self) -> str:
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines()]

    def make_tenant(self) -> str:
        """Key of a new tenant."""
        answer = httpx.post(
            f"{self.url}/v1/tenants",
            json={"name": "Acme"},
            headers={"authorization": f"Bearer {ADMIN_KEY}", "x-request-id": "the-first"},
            verify=self.verify,
        )
        assert answer.status_code == 200, answer.text
        key: str = answer.json()["key"]
        return key

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _status(self, path: str) -> int | None:
        try:
            return httpx.get(f"{self.url}{path}", verify=self.verify).status_code
        except httpx.TransportError:
            return None


def register_base(database: Database) -> None:
    """Write the tests' base into the database."""
    with database.transaction() as session:
        bases.register_base(
            session,
            name=BASE,
            source="/x",
            digest=BASE_DIGEST,
            context_length=512,
            max_rank=8,
            config={},
        )


def question(*, stream: bool) -> dict[str, Any]:
    """A chat completion's body."""
    return {"model": BASE, "messages": HELLO, "stream": stream}
