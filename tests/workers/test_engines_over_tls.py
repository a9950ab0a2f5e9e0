"""Dispatcher and evaluator ask engines at https, and believe the authorities that they are told."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.authority import Authority

from tunesmith.platform.certificates import CertificateUnusable
from tunesmith.workers.dispatcher.proof import EngineUnreachable, serves
from tunesmith.workers.evaluator import engine_client

BASE = "pocket"


class Handler(BaseHTTPRequestHandler):
    """As much of vLLM as is asked here."""

    def do_GET(self) -> None:
        self._answer({"data": [{"id": BASE, "max_model_len": 64}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer({"tokens": [1, 2, 3]})

    def _answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost", into=tmp_path_factory.mktemp("engine")))
    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(30)


def test_the_dispatcher_believes_the_authority_and_the_name(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    assert serves(f"https://localhost:{port}", BASE, authorities=authority.file)
    for url, file, why in (
        (f"https://localhost:{port}", None, "unable to get local issuer certificate"),
        (f"https://127.0.0.1:{port}", authority.file, "certificate is not valid for '127.0.0.1'"),
        (f"https://localhost:{port}", tmp_path / "none", "cannot be used"),
    ):
        with pytest.raises(EngineUnreachable, match=why):
            serves(url, BASE, authorities=file)


def test_the_evaluator_believes_the_authority(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    async def ask(file: Path | None) -> list[int]:
        async with engine_client.EngineClient(
            [f"https://localhost:{port}"], BASE, patience=0.0, pause=0.0, authorities=file
        ) as client:
            return await client.tokenize_text("hi")

    assert asyncio.run(ask(authority.file)) == [1, 2, 3]
    with pytest.raises(engine_client.EngineUnreachable):
        asyncio.run(ask(None))
    with pytest.raises(CertificateUnusable):
        asyncio.run(ask(tmp_path / "none"))
