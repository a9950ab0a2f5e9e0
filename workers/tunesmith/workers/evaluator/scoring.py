"""How likely a model finds an answer: log-probabilities through the engine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .answering import Item
from .engine_client import EngineClient, EngineRefused, ModelNotServed


@dataclass(frozen=True)
class Likelihood:
    """Log-probability of an answer in nats, and its tokens."""

    nats: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token."""
        return self.nats / self.tokens if self.tokens else 0.0


async def likelihood(
    client: EngineClient,
    model: str,
    messages: Sequence[dict[str, Any]],
    answer: dict[str, Any],
    *,
    tools: Sequence[dict[str, Any]] | None = None,
) -> Likelihood | None:
    """How likely `model` answers with the message `answer`; None where it does not fit.

    Raises:
        ModelNotServed: the engine doesn't know the model.
        EngineUnreachable: no engine answers.
    """
    tokens = await answer_tokens(client, messages, answer, tools=tools)
    return None if tokens is None else await continuation(client, model, *tokens)


async def answer_tokens(
    client: EngineClient,
    messages: Sequence[dict[str, Any]],
    answer: dict[str, Any],
    *,
    tools: Sequence[dict[str, Any]] | None = None,
) -> tuple[list[int], list[int]] | None:
    """Token ids of the prompt and of the answer; None where the template does not take them.

    The answer's tokens are those that follow the prompt in the whole conversation up to its end of
    turn, as training learns them; where the template writes the whole otherwise, those of the bare
    text.

    Raises:
        ModelNotServed: the engine doesn't know the model.
        EngineUnreachable: no engine answers.
    """
    try:
        prompt = await client.tokenize(messages, tools=tools, prompt=True)
        whole = await client.tokenize([*messages, answer], tools=tools, prompt=False)
        own = whole[len(prompt) :] if whole[: len(prompt)] == prompt else []
        # What a template writes after the end of turn is neither learned nor generated.
        while len(own) > 1 and await client.is_blank(own[-1]):
            own.pop()
        if not own:
            own = await client.tokenize_text(str(answer.get("content") or ""))
    except ModelNotServed:
        raise
    except EngineRefused:  # a conversation that the template does not take
        return None
    return prompt, own


async def continuation(
    client: EngineClient, model: str, prompt: Sequence[int], own: Sequence[int]
) -> Likelihood | None:
    """How likely `model` continues the token ids `prompt` with `own`; None where it does not fit.

    Raises:
        ModelNotServed: the engine doesn't know the model.
        EngineUnreachable: no engine answers.
    """
    if not own or not prompt:
        return None
    try:
        listed = await client.token_logprobs(model, [*prompt, *own])
    except ModelNotServed:
        raise
    except EngineRefused:  # longer than the context
        return None
    nats = listed[len(prompt) - 1 :]
    return Likelihood(sum(nats), len(nats))


async def likelihoods(
    client: EngineClient,
    models: Sequence[str],
    items: Sequence[Item],
    *,
    rejected: bool = False,
    on_answer: Callable[[], None] = lambda: None,
) -> list[list[Likelihood | None]]:
    """How likely each item's right answer, or its rejected one, is to each of `models`.

    Returns:
        A list for each model, in the items' order. Tokens are the same for all, so they are asked
        for once.
    """

    async def one(item: Item) -> list[Likelihood | None]:
        answer = item.rejected if rejected else item.reference
        assert answer is not None, "only a preference has a rejected answer"
        tokens = await answer_tokens(client, item.messages, answer, tools=item.tools)
        found: list[Likelihood | None] = []
        for model in models:
            found.append(None if tokens is None else await continuation(client, model, *tokens))
            on_answer()
        return found

    by_item = await asyncio.gather(*(one(item) for item in items))
    return [[found[place] for found in by_item] for place in range(len(models))]


def perplexity(found: Sequence[Likelihood | None]) -> float | None:
    """Exp of the mean negative log-probability over all tokens; None where there are none."""
    tokens = sum(one.tokens for one in found if one is not None)
    if not tokens:
        return None
    return math.exp(min(700.0, -sum(one.nats for one in found if one is not None) / tokens))
