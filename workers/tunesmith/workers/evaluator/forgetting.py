"""What a model has lost of what its base could do: general probes, and its drift from the base."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tunesmith.platform.storage import ObjectNotFound, Storage

from .engine_client import EngineClient
from .probes import KINDS, MAX_TOKENS, VERSION, Probe, load_probes
from .scoring import Likelihood, likelihood
from .statistics.paired import LEVEL, bootstrap_interval, compare

_LISTED = 10


@dataclass(frozen=True)
class Probed:
    """A model's answer to a probe, and how likely it finds the base's answer (nats a token)."""

    answer: str
    passed: bool
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

        `logprob_shift` is the mean change of the log-probability of the base's own answers.
        """
        before, after = (
            np.array([float(one.passed) for one in side]) for side in (self.before, self.after)
        )
        found = compare(before, after, binary=True)
        drop = -found.value
        significant = found.p_value <= LEVEL
        return {
            "version": VERSION,
            "probes": len(self.probes),
            "baseline": float(before.mean()),
            "candidate": float(after.mean()),
            "drop": drop,
            "difference": {"value": found.value, "low": found.low, "high": found.high}
            | {"p_value": found.p_value, "test": found.test},
            "limit": self.limit,
            "within_limit": drop <= self.limit,
            "by_kind": self._by_kind(before, after),
            "logprob_shift": self._shift(),
            "lost": self._lost(),
            "summary": self._summary(before.mean(), after.mean(), drop, significant=significant),
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

    def _shift(self) -> dict[str, float] | None:
        shifts = np.array(
            [
                after.per_token - before.per_token
                for before, after in zip(self.before, self.after, strict=True)
                if before.per_token is not None and after.per_token is not None
            ]
        )
        if not len(shifts):
            return None
        low, high = bootstrap_interval(shifts)
        return {"value": float(shifts.mean()), "low": low, "high": high}

    def _lost(self) -> list[dict[str, str]]:
        lost = [
            {
                "id": probe.id,
                "prompt": probe.prompt,
                "baseline_answer": before.answer,
                "candidate_answer": after.answer,
            }
            for probe, before, after in zip(self.probes, self.before, self.after, strict=True)
            if before.passed and not after.passed
        ]
        return lost[:_LISTED]

    def _summary(self, before: float, after: float, drop: float, *, significant: bool) -> str:
        shift = self._shift()
        drift = ""
        if shift is not None:
            by, how = abs(shift["value"]), "less" if shift["value"] < 0 else "more"
            drift = f"; it finds the baseline's answers {by:.2f} nats a token {how} likely"
        what = (
            "no clear change"
            if not significant
            else f"{'a loss' if drop > 0 else 'a gain'} of {abs(drop) * 100:.0f} points"
        )
        within = "within" if drop <= self.limit else "beyond"
        return (
            f"{before:.0%} of {len(self.probes)} general questions right before, {after:.0%} after:"
            f" {what}, {within} the limit of {self.limit * 100:.0f} points{drift}."
        )


class ProbeCache:
    """A base's probes are the same for every job: asked once, kept in storage.

    What does not read back is asked again.
    """

    def __init__(self, storage: Storage, base_digest: str) -> None:
        self._storage = storage
        self._key = f"evaluations/probes/{base_digest}-{VERSION}.json"

    def read(self, count: int) -> list[Probed] | None:
        """What is kept of `count` probes."""
        try:
            kept = [Probed(**one) for one in json.loads(self._storage.get(self._key))]
        except (ObjectNotFound, ValueError, TypeError):
            return None
        return kept if len(kept) == count else None

    def write(self, probed: Sequence[Probed]) -> None:
        """Keep them."""
        self._storage.put(self._key, json.dumps([asdict(one) for one in probed]).encode())


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
        EngineRefused: the base takes no chats.
    """
    probes = load_probes()
    before = cache.read(len(probes)) if cache is not None else None
    if before is None:
        before = await _ask(client, baseline, probes, None, on_answer)
        if cache is not None:
            cache.write(before)
    after = await _ask(client, candidate, probes, [one.answer for one in before], on_answer)
    return Forgetting(probes, before, after, limit)


async def _ask(
    client: EngineClient,
    model: str,
    probes: Sequence[Probe],
    scored: Sequence[str] | None,
    on_answer: Callable[[], None],
) -> list[Probed]:
    """Answers to all probes; `scored` are the answers whose likelihood counts, else its own."""

    async def one(place: int, probe: Probe) -> Probed:
        messages = [{"role": "user", "content": probe.prompt}]
        answer = await client.chat(model, messages, max_tokens=MAX_TOKENS)
        text = str(answer["choices"][0]["message"].get("content") or "").strip()
        target = text if scored is None else scored[place]
        found: Likelihood | None = None
        if target:
            reply = {"role": "assistant", "content": target}
            found = await likelihood(client, model, messages, reply)
        on_answer()
        return Probed(text, probe.passes(text), None if found is None else found.per_token)

    return list(await asyncio.gather(*(one(p, probe) for p, probe in enumerate(probes))))
