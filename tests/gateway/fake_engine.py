"""A server with vLLM's routes and the shapes of its answers, for tests of the gateway alone.

What a real engine says, and that it loads adapters, is tested with real engines elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .fake_answers import (
    chat_message,
    embedding,
    response,
    response_events,
    text_of_tokens,
    tokens,
)
from .serving import Served

WORDS = ("Hel", "lo", " wor", "ld")

_ANSWERS = {
    "/v1/embeddings": embedding,
    "/v1/responses": response,
    "/tokenize": tokens,
    "/detokenize": text_of_tokens,
}


class FakeEngine:
    """An engine of one base; the attributes are its knobs and what it has seen."""

    def __init__(self, base: str = "pocket") -> None:
        self.base = base
        self.adapters: set[str] = set()
        """Digests that its resolver would find."""
        self.loaded: set[str] = set()
        self.broken: set[str] = set()
        """Digests that are found and cannot be loaded."""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        """Of `requests`."""
        self.pulls: list[dict[str, Any]] = []
        """Requests by which the pool has it pull an adapter."""
        self.unloaded: list[str] = []
        self.unload_status = 200
        """Else what it answers when it is to unload, without doing so."""
        self.metrics = ""
        """Its page of metrics; none where empty."""
        self.healthy = True
        self.fail_with: tuple[int, dict[str, Any]] | None = None
        self.drops = 0
        """Requests for adapters that find theirs dropped on their way."""
        self.hold = threading.Event()
        """Cleared: a generation stops after its first chunk, or before its answer."""
        self.hold.set()
        self.started = threading.Event()
        self.aborted = threading.Event()
        self.tls: tuple[Path, Path] | None = None
        """Files of its certificate and key, where it speaks TLS."""
        self._served: Served | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, at the same port as before; nothing is loaded."""
        self.loaded.clear()
        routes = [
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completion, methods=["POST"]),
            Route("/v1/embeddings", self._other, methods=["POST"]),
            Route("/v1/responses", self._other, methods=["POST"]),
            Route("/tokenize", self._other, methods=["POST"]),
            Route("/detokenize", self._other, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
        ]
        self._served = Served(Starlette(routes=routes), self._port, lifespan="off", tls=self.tls)
        self._port = self._served.port

    def kill(self) -> None:
        """Die with all connections."""
        if self._served is not None:
            self._served.kill()
            self._served = None

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self.healthy else 503)

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.metrics, status_code=200 if self.metrics else 404)

    async def _models(self, _: Request) -> Response:
        cards = [{"id": self.base, "object": "model", "parent": None, "max_model_len": 512}]
        cards += [{"id": d, "object": "model", "parent": self.base} for d in sorted(self.loaded)]
        return JSONResponse({"object": "list", "data": cards})

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.unload_status != 200:
            return _error(self.unload_status, "It does not unload now.")
        self.unloaded.append(name)
        if name not in self.loaded:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        self.loaded.discard(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, request: Request) -> Response:
        return await self._generate(request, "chat.completion")

    async def _completion(self, request: Request) -> Response:
        return await self._generate(request, "text_completion")

    async def _generate(self, request: Request, kind: str) -> Response:
        body = await request.json()
        # One token for "Hello": the pool has it pull an adapter, which is no user's request.
        pulled = body == {"model": body["model"], "prompt": "Hello", "max_tokens": 1}
        (self.pulls if pulled else self.requests).append(body)
        if not pulled:
            self.headers.append(dict(request.headers))
        if self.fail_with is not None and not pulled:
            return JSONResponse(self.fail_with[1], status_code=self.fail_with[0])
        model = body["model"]
        if (refusal := self._pull(model)) is not None:
            return refusal
        if pulled:
            return JSONResponse({"choices": []})
        if model != self.base and self.drops:
            self.drops -= 1
            self.loaded.discard(model)
            return _error(404, f"The model `{model}` does not exist.", "NotFoundError")
        if body.get("stream"):
            return StreamingResponse(self._stream(body, kind), media_type="text/event-stream")
        self.started.set()
        await self._held(request)
        text = "".join(WORDS) + f" from {'base' if model == self.base else 'adapter'}"
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
        if kind == "chat.completion":
            choice["message"] = chat_message(body, text)
            if choice["message"].get("tool_calls"):
                choice["finish_reason"] = "tool_calls"
        else:
            choice["text"] = text
        return JSONResponse(
            {
                "id": "cmpl-1",
                "object": kind,
                "created": 1,
                "model": model,
                "choices": [choice],
                "usage": {"prompt_tokens": 7, "total_tokens": 11, "completion_tokens": 4},
            }
        )

    def _pull(self, model: str) -> Response | None:
        """Have the adapter loaded; else why it is not."""
        if model == self.base or model in self.loaded:
            return None
        if model in self.broken:
            return _error(400, f"LoRA adapter '{model}' was found but could not be loaded.")
        if model not in self.adapters:
            return _error(404, f"LoRA adapter {model} does not exist", "NotFoundError")
        self.loaded.add(model)
        return None

    async def _other(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        if self.fail_with is not None:
            return JSONResponse(self.fail_with[1], status_code=self.fail_with[0])
        if (refusal := self._pull(body["model"])) is not None:
            return refusal
        path = request.url.path
        if path == "/v1/responses" and body.get("stream") is True:
            return StreamingResponse(response_events(body), media_type="text/event-stream")
        return JSONResponse(_ANSWERS[path](body))

    async def _held(self, request: Request) -> None:
        while not self.hold.is_set():
            if await request.is_disconnected():
                self.aborted.set()
                return
            await asyncio.sleep(0.01)

    async def _until_let_go(self) -> None:
        while not self.hold.is_set():  # noqa: ASYNC110 - the test sets it in its own thread
            await asyncio.sleep(0.01)

    async def _stream(self, body: dict[str, Any], kind: str) -> AsyncIterator[bytes]:
        common = {
            "id": "cmpl-1",
            "object": f"{kind}.chunk" if kind == "chat.completion" else kind,
            "created": 1,
            "model": body["model"],
        }
        try:
            for index, word in enumerate(WORDS):
                last = index == len(WORDS) - 1
                choice: dict[str, Any] = {"index": 0, "finish_reason": "stop" if last else None}
                if kind == "chat.completion":
                    choice["delta"] = {"role": "assistant", "content": word}
                else:
                    choice["text"] = word
                event = f"data: {json.dumps({**common, 'choices': [choice]})}\n\n".encode()
                # In pieces, as a network may bring them: a line may not be cut by the gateway.
                for start in range(0, len(event), 40):
                    yield event[start : start + 40]
                    await asyncio.sleep(0)
                self.started.set()
                await self._until_let_go()
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 7, "total_tokens": 11, "completion_tokens": 4}
                last_event = {**common, "choices": [], "usage": usage}
                text = json.dumps(last_event, separators=(",", ":"))
                yield f"data: {text}\n\n".encode()
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.aborted.set()
            raise


def _error(status: int, message: str, kind: str = "BadRequestError") -> Response:
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": "model", "code": status}},
        status_code=status,
    )
