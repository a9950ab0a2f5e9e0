"""What a model has lost of what its base could do: general probes, and its drift from the base."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tunesmith.platform.storage import ObjectNotFound, Storage

from .engine_client import EngineClient
from .probes import KINDS, MAX_TOKENS, VERSION, Probe, load_probes
from .scoring import continuation
from .statistics.paired import LEVEL, bootstrap_interval, compare

_LISTED = 10
_ROUNDING = 1e-9
"""A fall from 72 to 48 of 120 is one of 0.2, in floating point too."""


@dataclass(frozen=True)
class Probed:
    """A model's greedy answer to a probe.

    Attributes:
        prompt_ids, ids: the probe and the answer in tokens, the end of turn included.
        per_token: how likely the model finds the baseline's answer, in nats a token; None where
            that is not known.
    """

    answer: str
    passed: bool
    prompt_ids: Sequence[int]
    ids: Sequence[int]
    per_token: float | None


@dataclass(frozen=True)
class Forgetting:
    """The base's and the tuned model's probes side by side."""

    probes: Sequence[Probe]
    before: Sequence[Probed]
    after: Sequence[Probed]
    limit: float

    def as_json(self) -> dict[str, Any]:
        """Shares of right answers in all and by kind, their fall, and the drift in nats a token.

        `logprob_shift` is the mean change of the log-probability of the baseline's own answers
        over probes, with its 95 % interval. `drop` is positive where the candidate is worse.
        """
        before, after = (
            np.array([float(one.passed) for one in side]) for side in (self.before, self.after)
        )
        found = compare(before, after, binary=True)
        lost, shift = self._lost(), self._shift()
        drop = float(before.mean() - after.mean())
        return {
            "version": VERSION,
            "probes": len(self.probes),
            "baseline": float(before.mean()),
            "candidate": float(after.mean()),
            "drop": drop,
            "difference": {"value": found.value, "low": found.low, "high": found.high}
            | {"p_value": found.p_value, "test": found.test},
            "limit": self.limit,
            "within_limit": drop <= self.limit + _ROUNDING,
            "by_kind": self._by_kind(before, after),
            "logprob_shift": shift,
            "lost_count": len(lost),
            "gained_count": int((after > before).sum()),
            "lost": lost[:_LISTED],
            "summary": self._summary(
                before.mean(), after.mean(), shift, significant=found.p_value <= LEVEL
            ),
        }

    def _by_kind(self, before: Any, after: Any) -> dict[str, dict[str, Any]]:
        found = {}
        for kind in KINDS:
            chosen = np.array([probe.kind == kind for probe in self.probes])
            found[kind] = {
                "n": int(chosen.sum()),
                "baseline": float(before[chosen].mean()),
                "candidate": float(after[chosen].mean()),
            }
        return found

    @property
    def shifts(self) -> list[float | None]:
        """Of each probe the change in nats a token of the baseline's answer."""
        return [
            None
            if before.per_token is None or after.per_token is None
            else after.per_token - before.per_token
            for before, after in zip(self.before, self.after, strict=True)
        ]

    def _shift(self) -> dict[str, float] | None:
        shifts = np.array([shift for shift in self.shifts if shift is not None])
        if not len(shifts):
            return None
        low, high = bootstrap_interval(shifts)
        return {"value": float(shifts.mean()), "low": low, "high": high}

    def _lost(self) -> list[dict[str, str]]:
        return [
            {
                "id": probe.id,
                "prompt": probe.prompt,
                "baseline_answer": before.answer.strip(),
                "candidate_answer": after.answer.strip(),
            }
            for probe, before, after in zip(self.probes, self.before, self.after, strict=True)
            if before.passed and not after.passed
        ]

    def _summary(
        self, before: float, after: float, shift: dict[str, float] | None, *, significant: bool
    ) -> str:
        drop = before - after
        what = (
            "no clear change"
            if not significant
            else f"{'a loss' if drop > 0 else 'a gain'} of {abs(drop) * 100:.0f} points"
        )
        within = "within" if drop <= self.limit + _ROUNDING else "beyond"
        drift = weak = ""
        if shift is not None:
            by, how = abs(shift["value"]), "less" if shift["value"] < 0 else "more"
            drift = f"; it finds the baseline's answers {by:.2f} nats a token {how} likely"
        if before <= self.limit + _ROUNDING:
            weak = " The baseline has so few right that a loss beyond the limit could not show."
        return (
            f"{before:.0%} of {len(self.probes)} general questions right before, {after:.0%} after:"
            f" {what}, {within} the limit of {self.limit * 100:.0f} points{drift}.{weak}"
        )


class ProbeCache:
    """A base's probes are the same for every job: asked once, kept in storage.

    What does not read back as answers to these very probes is asked again.
    """

    def __init__(self, storage: Storage, base_digest: str) -> None:
        self._storage = storage
        self._key = f"evaluations/probes/{base_digest}-{VERSION}.json"

    def read(self, probes: Sequence[Probe]) -> list[Probed] | None:
        """What is kept of these probes; answers are checked anew."""
        try:
            kept = json.loads(self._storage.get(self._key))
            return [_kept(one, probe) for one, probe in zip(kept, probes, strict=True)]
        except (ObjectNotFound, ValueError, TypeError, KeyError):
            return None

    def write(self, probes: Sequence[Probe], probed: Sequence[Probed]) -> None:
        """Keep the answers to these probes."""
        kept = [
            {
                "prompt": probe.prompt,
                "answer": one.answer,
                "prompt_ids": list(one.prompt_ids),
                "ids": list(one.ids),
                "per_token": one.per_token,
            }
            for probe, one in zip(probes, probed, strict=True)
        ]
        self._storage.put(self._key, json.dumps(kept).encode())


def _kept(one: dict[str, Any], probe: Probe) -> Probed:
    answer, per_token = one["answer"], one["per_token"]
    read, written = one["prompt_ids"], one["ids"]
    tokens = all(
        isinstance(side, list) and side and all(type(token) is int for token in side)
        for side in (read, written)
    )
    likely = per_token is None or (isinstance(per_token, float) and -math.inf < per_token <= 0)
    if one["prompt"] != probe.prompt or not isinstance(answer, str) or not tokens or not likely:
        raise ValueError("kept of another probe, or damaged")
    return Probed(answer, probe.passes(answer), read, written, per_token)


async def look_for_forgetting(
    client: EngineClient,
    baseline: str,
    candidate: str,
    *,
    limit: float,
    cache: ProbeCache | None,
    on_answer: Callable[[], None] = lambda: None,
) -> Forgetting:
    """Ask both models (engines' names) the probes.

    Args:
        limit: largest fall of the share of right answers.
        cache: of the baseline's answers, where it is a base.

    Raises:
        EngineUnreachable: no engine answers.
        EngineRefused: the base takes no chats, or the engine can't load a model.
    """
    probes = load_probes()
    before = cache.read(probes) if cache is not None else None
    if before is None:
        before = await _ask(client, baseline, probes, None, on_answer)
        if cache is not None:
            cache.write(probes, before)
    after = await _ask(client, candidate, probes, before, on_answer)
    return Forgetting(probes, before, after, limit)


async def _ask(
    client: EngineClient,
    model: str,
    probes: Sequence[Probe],
    scored: Sequence[Probed] | None,
    on_answer: Callable[[], None],
) -> list[Probed]:
    """Answers to all probes; `scored` are the answers whose likelihood counts, else its own."""

    async def one(place: int, probe: Probe) -> Probed:
        messages = [{"role": "user", "content": probe.prompt}]
        answer = await client.chat(model, messages, max_tokens=MAX_TOKENS, token_ids=True)
        choice = answer["choices"][0]
        text = str(choice["message"].get("content") or "")
        read, written = answer["prompt_token_ids"], choice["token_ids"]
        target = Probed(text, probe.passes(text), read, written, None)
        told = target if scored is None else scored[place]
        found = await continuation(client, model, told.prompt_ids, told.ids)
        on_answer()
        return replace(target, per_token=None if found is None else found.per_token)

    return list(await asyncio.gather(*(one(p, probe) for p, probe in enumerate(probes))))
