"""An engine that answers as vLLM does; its toy tokens are the code points of characters."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx

from tunesmith.workers.evaluator.engine_client import EngineClient

BASE = "base"
TUNED = "a" * 64
URL = "http://engine"
END = 3
"""The toy template's end of turn; a line feed follows it."""
T = TypeVar("T")

Say = Callable[[str, list[dict[str, Any]]], str]
"""What a model says to messages."""


def rendered(messages: list[dict[str, Any]], *, prompt: bool) -> list[int]:
    """`role: content`, the end of turn, a line feed; then `a: ` for an answer to come."""
    text = "".join(
        f"{message['role'][0]}: {message['content']}{chr(END)}\n" for message in messages
    )
    return [ord(letter) for letter in text + ("a: " if prompt else "")]


class FakeEngine:
    """One or more engines behind one transport.

    Args:
        say: the models' answers.
        logprob: a token's log-probability by model, position and token.
        context: in tokens.

    Attributes:
        requests: (host, path, body) in order, `/v1/models` left out.
        away: hosts that refuse connections.
        failing: by host how many requests it still answers with 503.
        unknown, broken: models that it does not know, or finds but cannot load.
        most: the most requests that were under way at once.
    """

    def __init__(
        self,
        say: Say = lambda model, messages: f"{model[0]} {messages[-1]['content']}",
        logprob: Callable[[str, int, int], float] = lambda *_: -0.5,
        context: int = 1000,
    ) -> None:
        self._say = say
        self._logprob = logprob
        self._context = context
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.away: set[str] = set()
        self.failing: Counter[str] = Counter()
        self.unknown: set[str] = set()
        self.broken: set[str] = set()
        self.serves: dict[str, str] = {}
        self.most = 0
        self._under_way = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        if host in self.away:
            raise httpx.ConnectError("connection refused", request=request)
        if path == "/v1/models":
            listed = {"id": self.serves.get(host, BASE), "max_model_len": self._context}
            return httpx.Response(200, json={"data": [listed]})
        body = json.loads(request.content)
        self.requests.append((host, path, body))
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await _others_run()
        self._under_way -= 1
        if self.failing[host]:
            self.failing[host] -= 1
            return httpx.Response(503)
        return self._answer(path, body)

    def _answer(self, path: str, body: dict[str, Any]) -> httpx.Response:
        model = body["model"]
        if model in self.broken:
            return refusal(400, f"LoRA adapter '{model}' was found but could not be loaded.")
        if model in self.unknown:
            return refusal(404, f"The model `{model}` does not exist.")
        if path == "/tokenize":
            if "prompt" in body:
                return httpx.Response(200, json={"tokens": [ord(c) for c in body["prompt"]]})
            ids = rendered(body["messages"], prompt=body["add_generation_prompt"])
            return httpx.Response(200, json={"tokens": ids})
        if path == "/detokenize":
            return httpx.Response(200, json={"prompt": "".join(map(chr, body["tokens"]))})
        if path == "/v1/completions":
            return self._completion(body)
        return self._chat(body)

    def _completion(self, body: dict[str, Any]) -> httpx.Response:
        ids = body["prompt"]
        if len(ids) + body["max_tokens"] > self._context:
            return refusal(400, "longer than the maximum context length")
        listed = [None] + [
            {str(token): {"logprob": self._logprob(body["model"], place, token), "rank": 1}}
            for place, token in enumerate(ids[1:], start=1)
        ]
        return httpx.Response(200, json={"choices": [{"prompt_logprobs": listed}]})

    def _chat(self, body: dict[str, Any]) -> httpx.Response:
        prompt = rendered(body["messages"], prompt=True)
        if len(prompt) > self._context or body["max_tokens"] > self._context:
            return refusal(400, "longer than the maximum context length")
        text = self._say(body["model"], body["messages"])
        ids = [*(ord(letter) for letter in text), END][: body["max_tokens"]]
        choice: dict[str, Any] = {
            "message": {"role": "assistant", "content": text[: body["max_tokens"]]},
            "finish_reason": "stop" if ids[-1] == END else "length",
        }
        answer: dict[str, Any] = {
            "choices": [choice],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(ids)},
        }
        if body.get("return_token_ids"):
            answer["prompt_token_ids"] = prompt
            choice["token_ids"] = ids
        return httpx.Response(200, json=answer)


def refusal(status: int, message: str) -> httpx.Response:
    """An error as vLLM words it."""
    return httpx.Response(status, json={"error": {"message": message, "code": status}})


async def asking(
    engine: FakeEngine,
    work: Callable[[EngineClient], Coroutine[Any, Any, T]],
    urls: tuple[str, ...] = (URL,),
    **options: Any,
) -> T:
    """The result of `work` with a client of this engine, which does not wait."""
    options = {"patience": 0.0, "pause": 0.0} | options
    transport = httpx.MockTransport(engine)
    async with EngineClient(urls, BASE, transport=transport, **options) as client:
        return await work(client)


async def _others_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
