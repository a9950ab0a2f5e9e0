"""Adapters are loaded while others answer: nobody gets another adapter's words.

vLLM once served another user's weights while an adapter was being loaded (vllm-project/vllm
47724), so concurrent answers are compared with solo ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openai import OpenAI

from .data import WORDS, ask, csv_pairs, upload
from .platform import Platform, succeeded

BASE = "tunesmith-pocket"
ANSWERS = ("desk {word}", "room {word}", "shelf {i}", "yes {i}", "{word} {word}", "no")
QUESTIONS = [f"where does ticket {i} about the {WORDS[i]} box go?" for i in range(4)]


@pytest.fixture(scope="module")
def client(platform: Platform) -> OpenAI:
    return platform.tenant("Crowd")


@pytest.fixture(scope="module")
def models(client: OpenAI) -> list[str]:
    """More adapters than fit into one batch of the engine."""
    jobs = [
        client.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(client, csv_pairs(20, answer)),
            hyperparameters={"n_epochs": 4},
        ).id
        for answer in ANSWERS
    ]
    return [str(succeeded(client, job).fine_tuned_model) for job in jobs]


def test_concurrent_answers_equal_solo_answers_while_adapters_load(
    platform: Platform, client: OpenAI, models: list[str]
) -> None:
    asked = [(model, question) for question in QUESTIONS for model in (*models, BASE)]
    solo = {pair: ask(client, *pair) for pair in asked}
    assert len({solo[model, QUESTIONS[0]] for model in (*models, BASE)}) >= 4

    engine = platform.engine_url()
    for _ in range(3):
        for model in models[::2]:
            httpx.post(
                f"{engine}/v1/unload_lora_adapter", json={"lora_name": platform.digest(model)}
            ).raise_for_status()
        with ThreadPoolExecutor(12) as pool:
            concurrent = dict(zip(asked, pool.map(lambda p: ask(client, *p), asked), strict=True))
        assert concurrent == solo
