"""A small HTTP server in the platform's place, and a runner of commands."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform import cli


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    path: str
    key: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakePlatform:
    """Answers by method and path; a callable answer is asked, a list is used up."""

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        self.answers[method, path] = (status, answer)

    def last(self, method: str) -> Asked:
        return next(asked for asked in reversed(self.asked) if asked.method == method)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: the second of two waits for an ACK

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        self.server.fake.asked.append(Asked(self.command, self.path, key, body))
        path = self.path.split("?", 1)[0]
        missing = {"error": {"message": f"No route {path}", "type": "invalid_request_error"}}
        status, answer = self.server.fake.answers.get((self.command, path), (404, missing))
        if callable(answer):
            answer = answer()
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        stream = isinstance(answer, bytes) and answer.startswith(b"data:")
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""


class _Server(ThreadingHTTPServer):
    fake: FakePlatform
    daemon_threads = True


@pytest.fixture
def fake() -> Iterator[FakePlatform]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = FakePlatform(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.fake
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TUNESMITH_URL", "OPENAI_BASE_URL", "TUNESMITH_CONFIG", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-tenant")
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "sk-admin")


@pytest.fixture
def run(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """`run("files", "list")`: the program in this process, against the fake platform."""
    monkeypatch.setenv("TUNESMITH_URL", fake.url)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["tunesmith", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Result(int(code), out.decode(), err.decode())

    return run


def run_program(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from tunesmith.platform.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
