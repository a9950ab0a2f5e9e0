"""Engines as the evaluator asks them: the same routes and the same model names as the gateway's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tunesmith.platform.certificates import Authorities

_REQUEST_SECONDS = 300.0
_LOOK_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_PASSING = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_QUOTED = 300


class EngineUnreachable(Exception):
    """No engine answered for as long as it was waited for; it may later."""


class EngineRefused(Exception):
    """An engine refuses a request for good; the message has its words."""


class ModelNotServed(EngineRefused):
    """An engine refuses whatever is asked of this model: it doesn't know it or can't load it."""


class EngineClient:
    """Asks the engines that serve a base, a bounded number of requests at once.

    An engine that is away or failing is passed over, and looked for again after half a minute;
    where all are, they are waited for.

    Args:
        urls: base URLs of all engines.
        base: name of the base whose engines are asked.
        concurrency: requests under way at once.
        patience: seconds for which one request waits for engines that do not answer.
        pause: seconds between two attempts.
        authorities: file of those that sign the certificates of engines at https; the system's
            where not given.
        transport: in place of the network, for tests.

    Raises:
        CertificateUnusable: the file of authorities cannot be used.

    Attributes:
        context_length: tokens that a conversation may have, as the engines say; None before the
            first request, and where they don't say.
    """

    def __init__(
        self,
        urls: Sequence[str],
        base: str,
        *,
        concurrency: int = 16,
        patience: float = 300.0,
        pause: float = _PAUSE_SECONDS,
        authorities: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._base = base
        self._free = asyncio.Semaphore(concurrency)
        self._patience = patience
        self._pause = pause
        self._client = httpx.AsyncClient(
            timeout=_REQUEST_SECONDS,
            limits=httpx.Limits(max_connections=None),
            verify=Authorities(authorities).context if authorities else True,
            transport=transport,
        )
        self._looking = asyncio.Lock()
        self._serving: list[str] = []
        self._looked_at = 0.0
        self._turn = 0
        self._blank: dict[int, bool] = {}
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
        token_ids: bool = False,
    ) -> dict[str, Any]:
        """The greedy answer to a conversation, as `/v1/chat/completions` gives it.

        With `token_ids` it also has `prompt_token_ids` and, in its choice, `token_ids`: what was
        read and written, the end of turn included.

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
        if token_ids:
            body["return_token_ids"] = True
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

    async def is_blank(self, token: int) -> bool:
        """Whether a token is white space alone."""
        if token not in self._blank:
            body = {"model": self._base, "tokens": [token]}
            text = str((await self._ask("/detokenize", body))["prompt"])
            self._blank[token] = bool(text) and text.isspace()
        return self._blank[token]

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
        async with self._free:
            deadline = time.monotonic() + self._patience
            why = "none is configured (TUNESMITH_ENGINES)" if not self._urls else "none lists it"
            while True:
                for url in await self._engines():
                    try:
                        response = await self._client.post(url + path, json=body)
                        if not _is_passing(response):
                            return _read(response, path, str(body["model"]))
                        why = f"{url} answers {response.status_code} on {path}"
                    except httpx.TransportError as error:
                        why = f"{url}: {error or type(error).__name__}"
                    if url in self._serving:
                        self._serving.remove(url)
                if time.monotonic() >= deadline:
                    raise EngineUnreachable(f"No engine serves {self._base}: {why}.")
                await asyncio.sleep(self._pause)

    async def _engines(self) -> list[str]:
        """Engines of the base, each time another one first."""
        async with self._looking:
            missing = len(self._serving) < len(self._urls)
            since = time.monotonic() - self._looked_at
            if not self._serving or (missing and since > _LOOK_AGAIN_SECONDS):
                await self._look()
                self._looked_at = time.monotonic()
            self._turn += 1
            start = self._turn % max(1, len(self._serving))
            return self._serving[start:] + self._serving[:start]

    async def _look(self) -> None:
        serving, lengths = [], []
        for url in self._urls:
            try:
                response = await self._client.get(f"{url}/v1/models", timeout=_LOOK_SECONDS)
                listed = response.raise_for_status().json()["data"]
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                continue  # away, starting, or no engine: looked for again
            mine = [model for model in listed if model["id"] == self._base]
            if mine:
                serving.append(url)
                lengths += [one["max_model_len"] for one in mine if one.get("max_model_len")]
        self._serving = serving
        self.context_length = min(lengths, default=self.context_length)


def _is_passing(response: httpx.Response) -> bool:
    """Whether another engine, or this one later, may answer otherwise."""
    status = response.status_code
    return status >= httpx.codes.INTERNAL_SERVER_ERROR or status in _PASSING


def _read(response: httpx.Response, path: str, model: str) -> dict[str, Any]:
    if not response.is_error:
        answer: dict[str, Any] = response.json()
        return answer
    text = response.text[:_QUOTED]
    message = f"The engine refuses {path} of {model} with {response.status_code}: {text}"
    # vLLM answers 404 to a name that it does not know, and 400 where the adapter does not load.
    if response.status_code == httpx.codes.NOT_FOUND or "could not be loaded" in text:
        raise ModelNotServed(message)
    raise EngineRefused(message)
