"""How likely a model finds an answer: log-probabilities through the engine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .answering import Item
from .engine_client import EngineClient, EngineRefused


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

    The answer's tokens are those that follow the prompt in the whole conversation, its end of turn
    included; where the template writes the whole otherwise, those of the bare text.
    """
    try:
        prompt = await client.tokenize(messages, tools=tools, prompt=True)
        whole = await client.tokenize([*messages, answer], tools=tools, prompt=False)
        if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
            whole = prompt + await client.tokenize_text(str(answer.get("content") or ""))
        if len(whole) == len(prompt):
            return None
        listed = await client.token_logprobs(model, whole)
    except EngineRefused:  # longer than the context
        return None
    own = listed[len(prompt) - 1 :]
    return Likelihood(sum(own), len(own))


async def likelihoods(
    client: EngineClient,
    model: str,
    items: Sequence[Item],
    *,
    rejected: bool = False,
    on_answer: Callable[[], None] = lambda: None,
) -> list[Likelihood | None]:
    """How likely each item's right answer is to `model`, or its rejected one."""

    async def one(item: Item) -> Likelihood | None:
        answer = item.rejected if rejected else item.reference
        assert answer is not None, "only a preference has a rejected answer"
        found = await likelihood(client, model, item.messages, answer, tools=item.tools)
        on_answer()
        return found

    return list(await asyncio.gather(*(one(item) for item in items)))


def perplexity(found: Sequence[Likelihood | None]) -> float | None:
    """Exp of the mean negative log-probability over all tokens; None where there are none."""
    tokens = sum(one.tokens for one in found if one is not None)
    if not tokens:
        return None
    return math.exp(min(700.0, -sum(one.nats for one in found if one is not None) / tokens))
