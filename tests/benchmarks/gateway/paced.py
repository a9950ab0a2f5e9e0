"""A load generator that keeps a pace: `python paced.py`, its plan as JSON on standard input.

Requests begin at fixed times, whether or not earlier ones were answered; a latency is counted from
the time at which its request was due, so that a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import httptools
import uvloop


class Connection(asyncio.Protocol):
    """One connection; `ask` sends a request and tells when its answer's parts came."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.parser: Any = None
        self.done: asyncio.Future[None] | None = None
        self.first = 0.0
        self.chunks = 0
        self.status = 0
        self.last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(ConnectionError(f"closed: {exc}"))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.last = body
        if not self.chunks:
            self.first = time.perf_counter()
        self.chunks += body.count(b"data: {")

    def on_message_complete(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    async def ask(self, request: bytes) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.chunks = 0
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self.done


async def _run(plan: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    body = json.dumps(plan["body"]).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {plan['key']}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    idle: list[Connection] = []
    latencies: list[float] = []
    firsts: list[float] = []
    chunks = 0
    bad: list[str] = []

    async def one(due: float) -> None:
        nonlocal chunks
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", plan["port"])
        await connection.ask(request)
        latencies.append(time.perf_counter() - due)
        firsts.append(connection.first - due)
        chunks += connection.chunks
        if connection.status != 200:
            bad.append(f"{connection.status} {connection.last[:200].decode()}")
        idle.append(connection)

    started = time.perf_counter() + 0.05
    tasks: set[asyncio.Task[None]] = set()
    for number in range(plan["requests"]):
        due = started + number / plan["rate"]
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return {
        "seconds": time.perf_counter() - started,
        "latencies": latencies,
        "firsts": firsts,
        "chunks": chunks,
        "bad": bad,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(json.load(sys.stdin)))))
