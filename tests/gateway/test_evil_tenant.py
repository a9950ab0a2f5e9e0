"""What an evil tenant tries that no other file has: docs/operations/threat-model.md."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, error_of

from tunesmith.platform.logs import configure_logs

ASK = {"messages": [{"role": "user", "content": "hi"}]}


def test_a_digest_is_no_name_of_a_model(sqlite_gateway: Gateway, shared_engine: FakeEngine) -> None:
    victim, thief = sqlite_gateway.tenant(), sqlite_gateway.tenant()
    model, digest = sqlite_gateway.train(victim)
    for name in (digest, digest.upper(), f"ft:{digest}", f"adapters/{digest}", model, f" {digest}"):
        answer = thief.http.post("/v1/chat/completions", json=ASK | {"model": name})
        assert answer.status_code == 404, name
        assert error_of(answer)["code"] == "model_not_found"
    # not even its owner: names are what can be taken back
    answer = victim.http.post("/v1/chat/completions", json=ASK | {"model": digest})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/cron.d/x",
        "..\\..\\x.jsonl",
        "/etc/passwd",
        'a"; filename="b.exe',
        "a\r\nx-injected: 1",
        "\u202egnp.exe",
        "x" * 200 + "/..",
    ],
)
def test_a_name_of_a_file_is_no_path_and_no_header(sqlite_gateway: Gateway, name: str) -> None:
    tenant = sqlite_gateway.tenant()
    before = set(sqlite_gateway.storage.list())
    made = tenant.client.files.create(file=(name, b'{"custom_id": "1"}\n'), purpose="batch")
    (key,) = set(sqlite_gateway.storage.list()) - before - {"health/readiness"}
    assert key.startswith(f"tenants/{tenant.id}/files/")
    answer = tenant.http.get(f"/v1/files/{made.id}/content")
    assert answer.content == b'{"custom_id": "1"}\n'
    assert "x-injected" not in answer.headers
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert not set('"\r\n/\\; ') & set(disposition.partition("''")[2])


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 6\r\n",
    ],
)
def test_no_second_request_hides_in_a_body(sqlite_gateway: Gateway, head: bytes) -> None:
    """Where two readers of a connection differ on a body's end, the rest is somebody's request."""
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + hidden
    host, port = sqlite_gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 ") == 1, received
    assert received.split(b" ", 2)[1] in {b"400", b"401"}
    assert b"HTTP/1.1 200" not in received


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-real-ip", "x-tenant-id", "openai-organization", "openai-project"]
)
def test_no_header_makes_one_another(sqlite_gateway: Gateway, name: str) -> None:
    victim, thief = sqlite_gateway.tenant(), sqlite_gateway.tenant()
    victim.upload()
    answer = thief.http.get("/v1/files", headers={name: victim.id})
    assert answer.json()["data"] == []
    assert answer.headers["openai-organization"] == thief.id


@contextmanager
def json_logs(gateway: Gateway) -> Iterator[io.StringIO]:
    """Logs as a pod writes them."""
    out, kept, handlers = io.StringIO(), structlog.get_config(), logging.getLogger().handlers[:]
    configure_logs(
        gateway.settings.model_copy(update={"log_format": "json"}), process="gateway", stream=out
    )
    try:
        yield out
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.configure(**kept)


def test_nobody_writes_lines_into_the_log(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    tenant = gateway.tenant()
    forged = '{"event": "forged", "level": "critical"}'
    with json_logs(gateway) as out:
        for path in (f"/v1/files/%0a{forged}", "/v1/models/%1b[31mred%0d%0a"):
            tenant.http.get(path)
        tenant.http.get("/v1/models", headers={"x-request-id": "a\tb " + forged})
        tenant.http.post(
            "/v1/chat/completions", json=ASK | {"model": f"x\n{forged}\x1b[2J", "user": forged}
        )
    lines = out.getvalue().splitlines()
    assert lines
    assert "\x1b" not in out.getvalue()
    for line in lines:
        assert json.loads(line).get("event") != "forged", line
