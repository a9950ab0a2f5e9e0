"""How many tokens a request will take, before it is answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

_BYTES_PER_TOKEN = 4
"""Of English text in JSON, by OpenAI's rule of thumb; the engine's own count corrects it."""

_FIRST_ANSWER = 256
_MOST_REMEMBERED = 10_000
_WEIGHT = 1 / 16
_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class TokenEstimates:
    """Estimates by what a request asks for, and by the mean answer of its model until now."""

    def __init__(self) -> None:
        self._means: OrderedDict[str, float] = OrderedDict()

    def of(self, model: str, body: Mapping[str, Any], size: int) -> int:
        """Tokens of a request of `size` bytes to `model`, answer included; at least 1."""
        answer: float = self._means.get(model, _FIRST_ANSWER)
        for field in _FIELDS:
            most = body.get(field)
            if type(most) is int and most > 0:
                answer = most
                break
        choices = body.get("n")
        if type(choices) is int and choices > 1:
            answer *= choices
        return max(1, size // _BYTES_PER_TOKEN + int(answer))

    def learn(self, model: str, completion_tokens: int) -> None:
        """A model answered with so many tokens."""
        mean = self._means.get(model)
        if mean is None:
            mean = float(completion_tokens)
            if len(self._means) >= _MOST_REMEMBERED:
                self._means.popitem(last=False)
        self._means[model] = mean + (completion_tokens - mean) * _WEIGHT
