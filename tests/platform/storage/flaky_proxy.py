"""A proxy before an S3 server that spoils every so many requests, each in another way."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from urllib.parse import urlsplit

FAULTS = ("500 InternalError", "503 SlowDown", "reset", "cut")
"""What becomes of a request: an error of S3, no answer at all, half an answer."""


class FlakyProxy(ThreadingHTTPServer):
    """Passes requests on to `endpoint` and spoils every `every`th, with `faults` in turn."""

    daemon_threads = True

    def __init__(self, endpoint: str, *, every: int, faults: tuple[str, ...] = FAULTS) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.endpoint = urlsplit(endpoint).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.signers: set[str] = set()
        """Access keys that requests were signed with."""
        self.spoiled: Counter[str] = Counter()
        self._every = every
        self._faults = cycle(faults)
        self._count = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def fault(self) -> str | None:
        """What becomes of the request that is here now; None: it is passed on."""
        with self._lock:
            self._count += 1
            if self._count % self._every:
                return None
            fault = next(self._faults)
            self.spoiled[fault] += 1
            return fault

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyProxy

    def answer(self) -> None:
        body = self._body()
        _, signed, rest = self.headers.get("Authorization", "").partition("Credential=")
        if signed:
            self.server.signers.add(rest.split("/")[0])
        fault = self.server.fault()
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)  # a reset in place of an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
            return
        if fault is not None and fault != "cut":
            status, code = fault.split()
            text = f"<Error><Code>{code}</Code><Message>Not now.</Message></Error>".encode()
            self._send(int(status), {"Content-Type": "application/xml"}, text)
            return
        passed = http.client.HTTPConnection(self.server.endpoint)
        passed.request(self.command, self.path, body, dict(self.headers))
        answer = passed.getresponse()
        content = answer.read()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in {"connection", "content-length", "transfer-encoding"}
        }
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        passed.close()
        self._send(answer.status, headers, content, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        del self.headers["Transfer-Encoding"]
        return body

    def _send(
        self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Not to the test's output."""
