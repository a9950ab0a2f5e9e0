"""An engine that streams: `python stub_stream.py PORT CHUNKS MILLISECONDS`.

It answers every chat completion with so many events, so far apart, and then its usage; without
`stream` it answers at once. httptools and uvloop under a few lines, so that it is no bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httptools
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
_MODELS = {
    "object": "list",
    "data": [{"id": "pocket", "object": "model", "max_model_len": 4096, "parent": None}],
}
_EVENT = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1764000000,
    "model": "pocket",
    "choices": [{"index": 0, "delta": {"content": " parcel"}, "finish_reason": None}],
}
_USAGE = {"prompt_tokens": 42, "total_tokens": 92, "completion_tokens": 50}


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, chunks: int, seconds: float) -> None:
        self.chunks = chunks
        self.seconds = seconds
        self.parser: Any = httptools.HttpRequestParser(self)
        self.url = b""
        self.body: list[bytes] = []
        self.transport: Any = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        body, self.body = b"".join(self.body), []
        self.parser = httptools.HttpRequestParser(self)
        if self.url == b"/v1/models":
            self._whole(json.dumps(_MODELS).encode())
        elif not body or not json.loads(body).get("stream"):
            self._whole(b"" if not body else json.dumps({"choices": [], "usage": _USAGE}).encode())
        else:
            head = _HEAD % b"text/event-stream; charset=utf-8"
            self.transport.write(head + b"transfer-encoding: chunked\r\n\r\n")
            self._event(self.chunks)

    def _whole(self, body: bytes) -> None:
        head = _HEAD % b"application/json"
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)

    def _event(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if left:
            self._chunk(b"data: " + json.dumps(_EVENT, separators=(",", ":")).encode() + b"\n\n")
            self.timer = asyncio.get_running_loop().call_later(self.seconds, self._event, left - 1)
            return
        last = json.dumps(_EVENT | {"choices": [], "usage": _USAGE}, separators=(",", ":"))
        self._chunk(b"data: " + last.encode() + b"\n\ndata: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n" % len(data) + data + b"\r\n")


async def _serve(port: int, chunks: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(chunks, seconds), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
