"""Between pods and S3: passes everything on, and on demand answers every n-th request with 503.

The refusal is what S3 says when it is asked too much (`SlowDown`), sent before the request reaches
the server.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_REFUSAL = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}


class StorageProxy:
    """Listens at `address`:`port`.

    Attributes:
        every: each request of this number is refused; 0: none.
        refused: how many were.
    """

    def __init__(self, address: str, port: int, to_address: str, to_port: int) -> None:
        self.address, self.every, self.refused = address, 0, 0
        self._count = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self._body()
                if proxy.refuses():
                    self._answer(503, {"Content-Type": "application/xml"}, _REFUSAL)
                    return
                upstream = http.client.HTTPConnection(to_address, to_port, timeout=60)
                try:
                    # The Host stays what the client signed.
                    upstream.putrequest(
                        self.command, self.path, skip_host=True, skip_accept_encoding=True
                    )
                    for name, value in self.headers.items():
                        if name.lower() not in _OF_ONE_HOP | {"content-length", "expect"}:
                            upstream.putheader(name, value)
                    if body or self.command in ("PUT", "POST"):
                        upstream.putheader("Content-Length", str(len(body)))
                    upstream.endheaders(body or None)
                    answer = upstream.getresponse()
                    content = answer.read()
                    self._answer(answer.status, dict(answer.getheaders()), content)
                except OSError:
                    self.close_connection = True
                finally:
                    upstream.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do  # noqa: N815

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                length = str(len(content))
                for name, value in headers.items():
                    if name.lower() == "content-length" and self.command == "HEAD":
                        length = value
                    elif name.lower() not in _OF_ONE_HOP | {"content-length"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that left: killed, as tests do."""

        self._server = Server((address, port), Handler)
        threading.Thread(
            target=self._server.serve_forever, name="storage proxy", daemon=True
        ).start()

    def refuses(self) -> bool:
        """Whether the request that has just come is one of those."""
        with self._lock:
            self._count += 1
            refused = bool(self.every) and self._count % self.every == 0
            self.refused += refused
            return refused

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
