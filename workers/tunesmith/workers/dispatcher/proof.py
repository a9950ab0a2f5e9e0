"""Proof that an engine serves what was trained, before anybody relies on it.

Two classic ways in which a tuned model disappoints: the engine renders a chat otherwise than
training did, or it accepts an adapter and ignores it. Both are looked for on real prompts.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tunesmith.platform.certificates import Authorities, CertificateUnusable
from tunesmith.workers.training.work import Probe

_LOAD_SECONDS = 60.0
_LISTED = 10


class EngineUnreachable(Exception):
    """The engine does not answer now; it may later."""


class ProofFailed(Exception):
    """The engine does not serve what was trained; the message says what differs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Proof:
    """What was shown. `largest_shift` is of a next token's log-probability, in nats."""

    prompts: int
    tokens: int
    largest_shift: float


def prove(
    engine_url: str,
    base_name: str,
    digest: str,
    probes: Sequence[Probe],
    *,
    authorities: Path | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Proof:
    """Show that an engine renders the probes as training did, and that the adapter has an effect.

    Asking for the adapter also loads it: the engine is warm when the model's name appears.

    Args:
        authorities: file of those that sign the certificates of engines at https; the system's
            where not given.

    Raises:
        EngineUnreachable: no answer, no certificate that is believed, or the engine is failing.
        ProofFailed: another rendering, an adapter that cannot be loaded, or one without effect.
    """
    with httpx.Client(
        base_url=engine_url,
        timeout=_LOAD_SECONDS,
        verify=_believing(authorities),
        transport=transport,
    ) as client:
        largest = 0.0
        for probe in probes:
            _check_rendering(client, base_name, probe)
            base = _next_token(client, base_name, probe.prompt_ids)
            tuned = _next_token(client, digest, probe.prompt_ids)
            largest = max(largest, _shift(base, tuned))
    if probes and largest == 0.0:
        raise ProofFailed(
            "adapter_without_effect",
            "The engine accepted the adapter, but its answers are the base's to the last bit: the"
            " adapter is not applied.",
        )
    return Proof(len(probes), sum(len(probe.prompt_ids) for probe in probes), largest)


def serves(engine_url: str, base_name: str, *, authorities: Path | None = None) -> bool:
    """Whether this engine serves the base.

    Raises:
        EngineUnreachable: no answer, or no certificate that is believed.
    """
    with httpx.Client(base_url=engine_url, timeout=5.0, verify=_believing(authorities)) as client:
        models = _answer(client, "GET", "/v1/models", None)
    return any(model["id"] == base_name for model in models["data"])


def _believing(authorities: Path | None) -> ssl.SSLContext | bool:
    try:
        return Authorities(authorities).context if authorities else True
    except CertificateUnusable as error:  # its file may be mended
        raise EngineUnreachable(error.message) from error


def _check_rendering(client: httpx.Client, base_name: str, probe: Probe) -> None:
    body: dict[str, Any] = {
        "model": base_name,
        "messages": probe.messages,
        "add_generation_prompt": True,
    }
    if probe.tools:
        body["tools"] = probe.tools
    rendered = _answer(client, "POST", "/tokenize", body)["tokens"]
    if rendered != probe.prompt_ids:
        place = next(
            (i for i, (a, b) in enumerate(zip(rendered, probe.prompt_ids, strict=False)) if a != b),
            min(len(rendered), len(probe.prompt_ids)),
        )
        raise ProofFailed(
            "rendering_differs",
            "The engine renders a chat otherwise than training did: of"
            f" {len(probe.prompt_ids)} and {len(rendered)} tokens, number {place + 1} is the first"
            " that differs. The engine must use the chat template of the base that was trained.",
        )


def _next_token(client: httpx.Client, model: str, prompt: list[int]) -> dict[str, float]:
    """Log-probabilities of the likeliest next tokens."""
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": _LISTED,
    }
    answer = _answer(client, "POST", "/v1/completions", body)
    (likeliest,) = answer["choices"][0]["logprobs"]["top_logprobs"]
    return dict(likeliest)


def _shift(base: dict[str, float], tuned: dict[str, float]) -> float:
    """The largest shift of a listed token; one that the other side does not list counts from the
    lowest that it lists, which is what it shifted by at least.
    """
    floors = {id(side): min(side.values()) for side in (base, tuned)}
    return max(
        abs(base.get(token, floors[id(base)]) - tuned.get(token, floors[id(tuned)]))
        for token in base.keys() | tuned.keys()
    )


def _answer(client: httpx.Client, method: str, path: str, body: Any) -> dict[str, Any]:
    try:
        response = client.request(method, path, json=body)
    except httpx.TransportError as error:
        raise EngineUnreachable(f"{client.base_url}: {error or type(error).__name__}") from error
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise EngineUnreachable(f"{client.base_url} answers {response.status_code} on {path}")
    if response.is_error:
        raise ProofFailed(
            "adapter_not_served",
            f"The engine refuses {path} with {response.status_code}: {response.text[:300]}",
        )
    answer: dict[str, Any] = response.json()
    return answer
