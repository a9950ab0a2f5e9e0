"""Tokens a second of a real vLLM with many adapters, through the gateway and without it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import torch
from safetensors.torch import save
from tests.benchmarks.figures import Figure, Section, alternate, ratios
from tests.benchmarks.machine import ROOT

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Adapter, BaseModel, File, Job, Model
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import CONFIG, WEIGHTS, put_adapter
from tunesmith.workers.engine.command import engine_command, engine_environment

from .processes import cpu_seconds, free_port, running
from .sides import Side, gateway

BASE = "tunesmith-pocket"
POCKET = ROOT / "workers" / "tunesmith" / "workers" / "pocket" / "model"
OF_ENGINE = 0.97
COUNTS = (1, 4, 16, 32)
REQUESTS = 32
"""Of a round. Rounds are short and many: a machine of few cores has slow spells, and what counts
is how two rounds beside each other differ."""
ROUNDS = 4
"""For each of the repeats asked for."""
AT_ONCE = 16
TOKENS = 32
RANK = 8


@dataclass(frozen=True)
class Asked:
    """A server, and its names of the adapters."""

    url: str
    key: str
    models: list[str]


def measure(folder: Path, *, repeats: int) -> Section:
    """Aggregate tokens a second with 1, 4, 16 and 32 adapters."""
    home = folder / "home"
    port = free_port()
    settings = Settings(home=home, engine_port=port, engine_max_loras=16, engine_max_lora_rank=RANK)
    digests = _adapters(Storage(settings.storage_url), max(COUNTS))
    base = BaseModel(name=BASE, source=str(POCKET), context_length=1024)
    with ExitStack() as parts:
        engine = f"http://127.0.0.1:{port}"
        served = parts.enter_context(
            running(
                engine_command(settings, base, on_gpu=False),
                log=folder / "engine.log",
                on=None,
                environment=engine_environment(settings, os.environ, on_gpu=False),
                ready=f"{engine}/health",
                seconds=300,
            )
        )
        ours = parts.enter_context(gateway(folder, engine, model=BASE))
        names = _models(home, ours, digests)
        runs: dict[str, list[Any]] = {}
        figures = []
        for count in COUNTS:
            sides = {
                "engine alone": Asked(engine, "none", digests[:count]),
                "gateway": Asked(ours.url, ours.key, names[:count]),
            }
            for side in sides.values():
                asyncio.run(_tokens_a_second(side))  # adapters are pulled, caches filled
            spent = cpu_seconds(ours.process), cpu_seconds(served)
            found = alternate(
                ROUNDS * repeats, {name: partial(_run, side) for name, side in sides.items()}
            )
            gateway_spent, engine_spent = (
                cpu_seconds(ours.process) - spent[0],
                cpu_seconds(served) - spent[1],
            )
            runs |= {f"{name}, {count} adapters": rates for name, rates in found.items()}
            figures.append(
                Figure.of(
                    f"tokens/s with {count} adapters, gateway over engine alone",
                    ratios(found["gateway"], found["engine alone"]),
                    "x",
                    target=OF_ENGINE,
                )
            )
            figures += [
                Figure.of(f"{name}, {count} adapters", rates, "tokens/s")
                for name, rates in found.items()
            ]
            figures.append(
                Figure(
                    f"CPU time of gateway over engine's for the same requests, {count} adapters",
                    2 * gateway_spent / engine_spent,  # the engine answered the others besides
                    "x",
                    higher_is_better=False,
                )
            )
    return Section(
        4,
        "real vLLM with adapters",
        figures,
        held_equal={"requests": REQUESTS, "at once": AT_ONCE, "tokens an answer": TOKENS},
        method=["The pocket base on CPU; engine, gateway and load share the machine's cores."],
        runs=runs,
    )


def _run(side: Asked, _: int) -> float:
    return asyncio.run(_tokens_a_second(side))


async def _tokens_a_second(side: Asked) -> float:
    line = asyncio.Semaphore(AT_ONCE)
    headers = {"authorization": f"Bearer {side.key}"}
    async with httpx.AsyncClient(base_url=side.url, headers=headers, timeout=120) as client:

        async def ask(number: int) -> int:
            body = {
                "model": side.models[number % len(side.models)],
                "prompt": f"Ticket {number} is about a parcel that",
                "max_tokens": TOKENS,
                "ignore_eos": True,
                "temperature": 0,
            }
            async with line:
                answer = await client.post("/v1/completions", json=body)
            tokens: int = answer.raise_for_status().json()["usage"]["completion_tokens"]
            return tokens

        started = time.perf_counter()
        tokens = await asyncio.gather(*map(ask, range(REQUESTS)))
        return sum(tokens) / (time.perf_counter() - started)


def _adapters(storage: Storage, count: int) -> list[str]:
    """Digests of adapters of the pocket base with weights by chance."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": BASE,
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
        "inference_mode": True,
    }
    layout = json.loads((POCKET / "config.json").read_text())
    hidden, layers = layout["hidden_size"], layout["num_hidden_layers"]
    head = layout.get("head_dim") or hidden // layout["num_attention_heads"]
    width = {
        "q_proj": head * layout["num_attention_heads"],
        "v_proj": head * layout["num_key_value_heads"],
    }
    digests = []
    for number in range(count):
        chance = torch.Generator().manual_seed(number)
        tensors = {}
        for layer in range(layers):
            for module, out in width.items():
                name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
                tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, hidden, generator=chance) * 0.1
                tensors[f"{name}.lora_B.weight"] = torch.randn(out, RANK, generator=chance) * 0.1
        files = {WEIGHTS: save(tensors), CONFIG: json.dumps(config).encode()}
        digests.append(put_adapter(storage, files))
    return digests


def _models(home: Path, side: Side, digests: list[str]) -> list[str]:
    """Names of models of the gateway's tenant, made of these adapters."""
    tenant = (
        httpx.get(f"{side.url}/v1/models", headers={"authorization": f"Bearer {side.key}"})
        .raise_for_status()
        .headers["openai-organization"]
    )
    names = [f"ft:{BASE}:acme::{number:08d}" for number in range(len(digests))]
    with Database(f"sqlite:///{home / 'tunesmith.db'}").transaction() as session:
        now = time.time()
        session.add(
            File(
                id="file-0",
                tenant_id=tenant,
                filename="-",
                purpose="fine-tune",
                bytes=0,
                sha256="0" * 64,
                status="processed",
                storage_key="-",
                created_at=now,
            )
        )
        session.flush()
        session.add(
            Job(
                id="ftjob-0",
                tenant_id=tenant,
                created_at=now,
                status="validating_files",
                model=BASE,
                base_name=BASE,
                base_digest="0" * 64,
                training_file="file-0",
                seed=0,
                method={},
                fingerprint="0" * 64,
                hyperparameters={},
            )
        )
        session.flush()
        for name, digest in zip(names, digests, strict=True):
            session.add(
                Adapter(
                    digest=digest,
                    base_name=BASE,
                    base_digest="0" * 64,
                    rank=RANK,
                    bytes=0,
                    created_at=now,
                )
            )
            session.flush()
            session.add(
                Model(
                    name=name,
                    tenant_id=tenant,
                    base_name=BASE,
                    adapter_digest=digest,
                    job_id="ftjob-0",
                    created_at=now,
                )
            )
    return names
