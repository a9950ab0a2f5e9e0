"""An engine that fails in any way a connection can, by chance or as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

BASE = "pocket"
_CARD = {"id": BASE, "object": "model", "parent": None, "max_model_len": 512}
_MODELS = json.dumps({"object": "list", "data": [_CARD]}).encode()
Say = Callable[["Asked"], Awaitable[None]]


class Asked:
    """One request in the engine, and ways to answer it."""

    def __init__(
        self,
        body: dict[str, Any],
        number: str,
        usage: tuple[int, int],
        writer: asyncio.StreamWriter,
    ) -> None:
        self.body = body
        self.number = number
        self.usage = usage
        self.writer = writer

    async def write(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    def close(self, *, hard: bool = False) -> None:
        if hard:
            self.writer.transport.abort()
        else:
            self.writer.close()

    @property
    def _reported(self) -> dict[str, int]:
        prompt, completion = self.usage
        return {"prompt_tokens": prompt, "completion_tokens": completion}

    def whole(self, extra: bytes = b"") -> bytes:
        text = {"model": self.body["model"], "choices": [{"text": "x"}], "usage": self._reported}
        return response(200, json.dumps(text).encode(), extra)

    async def stream(self, *, cut_after: int | None = None, hard: bool = False) -> None:
        await self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        chunk: dict[str, Any] = {"model": self.body["model"], "choices": [{"text": "x"}]}
        for event in range(self.usage[1]):
            if event == cut_after:
                return self.close(hard=hard)
            await self._event(json.dumps(chunk))
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self._event(json.dumps(chunk | {"choices": [], "usage": self._reported}))
        await self._event("[DONE]")
        await self.write(b"0\r\n\r\n")
        return None

    async def _event(self, text: str) -> None:
        event = f": so many bytes\n\ndata: {text}\n\n".encode()
        half = len(event) // 2
        for part in (event[:half], event[half:]):
            await self.write(b"%x\r\n%b\r\n" % (len(part), part))


def response(status: int, body: bytes, extra: bytes = b"") -> bytes:
    """An answer with its length."""
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        body,
    )


class ChaoticEngine:
    """An engine whose `say` answers each generation; in the test's own event loop.

    Attributes:
        reported: the usage that each request (by its `x-request-id`) would have reported, for each
            time that it came.
    """

    def __init__(self, say: Say, random: Random) -> None:
        self.reported: dict[str, list[tuple[int, int]]] = {}
        self.bodies: list[dict[str, Any]] = []
        self._say = say
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ChaoticEngine:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._one(reader, writer)
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        text = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        path = lines[0].split()[1]
        if path == b"/v1/models":
            writer.write(response(200, _MODELS))
        elif path in (b"/health", b"/metrics"):
            writer.write(response(200, b""))
        else:
            body = json.loads(text)
            usage = self._random.randint(1, 50), self._random.randint(1, 6)
            asked = Asked(body, headers.get(b"x-request-id", b"").decode(), usage, writer)
            if body.get("prompt") == "Hello":  # the pool has it pull an adapter
                writer.write(asked.whole())
            else:
                self.bodies.append(body)
                self.reported.setdefault(asked.number, []).append(usage)
                await self._say(asked)
        await writer.drain()


def by_chance(random: Random) -> Say:
    """An engine that answers half of what it is asked, and fails the rest in some way."""

    async def say(asked: Asked) -> None:
        await asyncio.sleep(random.choice([0, 0, 0, 0.005, 0.02, 0.04]))
        kind = random.choice(
            ["well"] * 10 + ["gone", "half a head", "cut", "status", "hang", "bye"]
        )
        hard = random.random() < 0.5
        if kind == "gone":
            return asked.close(hard=hard)
        if kind == "half a head":
            await asked.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
            return asked.close(hard=hard)
        if kind == "status":
            status = random.choice([400, 404, 500, 503, 503, 307])
            return await asked.write(response(status, b'{"error": {"message": "no"}}'))
        if kind == "hang":
            await asyncio.sleep(60)
        if asked.body.get("stream"):
            cut = random.randint(0, asked.usage[1] - 1) if kind == "cut" else None
            return await asked.stream(cut_after=cut, hard=hard)
        whole = asked.whole(b"connection: close\r\n" if kind == "bye" and hard else b"")
        if kind == "cut":
            await asked.write(whole[: random.randint(1, len(whole) - 1)])
            return asked.close(hard=hard)
        half = len(whole) // 2
        await asked.write(whole[:half], whole[half:])
        if kind == "bye":
            asked.close(hard=hard)
        return None

    return say
