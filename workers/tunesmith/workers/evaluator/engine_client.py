"""Engines as the evaluator asks them: the same routes and the same model names as the gateway's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import httpx

_REQUEST_SECONDS = 300.0
_PAUSE_SECONDS = 1.0


class EngineUnreachable(Exception):
    """No engine answered for as long as it was waited for; it may later."""


class EngineRefused(Exception):
    """An engine refuses a request for good; the message has its words."""


class EngineClient:
    """Asks the engines that serve a base, a bounded number of requests at once.

    An engine that is away or failing is passed over; where all are, they are waited for.

    Args:
        urls: base URLs of all engines.
        base: name of the base whose engines are asked.
        concurrency: requests under way at once.
        patience: seconds for which engines that do not answer are waited for.
        transport: in place of the network, for tests.
    """

    def __init__(
        self,
        urls: Sequence[str],
        base: str,
        *,
        concurrency: int = 16,
        patience: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._base = base
        self._free = asyncio.Semaphore(concurrency)
        self._patience = patience
        self._client = httpx.AsyncClient(
            timeout=_REQUEST_SECONDS,
            limits=httpx.Limits(max_connections=None),
            transport=transport,
        )
        self._serving: list[str] = []
        self._turn = 0
        self.context_length: int | None = None

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def chat(
        self,
        model: str,
        messages: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The greedy answer to a conversation, as `/v1/chat/completions` gives it.

        Raises:
            EngineRefused: as a conversation that is longer than the context.
            EngineUnreachable: no engine answers.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 0,
        }
        if tools:
            body |= {"tools": list(tools), "tool_choice": "auto"}
        return await self._ask("/v1/chat/completions", body)

    async def tokenize(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        prompt: bool,
    ) -> list[int]:
        """Token ids of a conversation; with `prompt` up to where an answer begins."""
        body: dict[str, Any] = {
            "model": self._base,
            "messages": list(messages),
            "add_generation_prompt": prompt,
        }
        if tools:
            body["tools"] = list(tools)
        return list((await self._ask("/tokenize", body))["tokens"])

    async def tokenize_text(self, text: str) -> list[int]:
        """Token ids of a bare text, without special tokens."""
        body = {"model": self._base, "prompt": text, "add_special_tokens": False}
        return list((await self._ask("/tokenize", body))["tokens"])

    async def token_logprobs(self, model: str, ids: Sequence[int]) -> list[float]:
        """Log-probability (nats) of each token after the first, given those before it."""
        body = {
            "model": model,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        answer = await self._ask("/v1/completions", body)
        listed = answer["choices"][0]["prompt_logprobs"][1:]
        return [
            float(entry[str(token)]["logprob"])
            for token, entry in zip(ids[1:], listed, strict=True)
        ]

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        why = "none is configured (TUNESMITH_ENGINES)"
        async with self._free:
            while True:
                for url in await self._engines():
                    try:
                        response = await self._client.post(url + path, json=body)
                    except httpx.TransportError as error:
                        why = f"{url}: {error or type(error).__name__}"
                        continue
                    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                        why = f"{url} answers {response.status_code}"
                        continue
                    if response.is_error:
                        raise EngineRefused(
                            f"The engine refuses {path} with {response.status_code}:"
                            f" {response.text[:300]}"
                        )
                    answer: dict[str, Any] = response.json()
                    return answer
                self._serving = []
                if time.monotonic() > deadline:
                    raise EngineUnreachable(f"No engine serves {self._base}: {why}.")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _engines(self) -> list[str]:
        """Engines of the base, each time another one first."""
        if not self._serving:
            for url in self._urls:
                try:
                    listed = (await self._client.get(f"{url}/v1/models", timeout=5.0)).json()
                except (httpx.TransportError, ValueError):
                    continue
                for model in listed.get("data", ()):
                    if model["id"] == self._base:
                        self._serving.append(url)
                        self.context_length = model.get("max_model_len") or self.context_length
        self._turn += 1
        start = self._turn % max(1, len(self._serving))
        return self._serving[start:] + self._serving[:start]
