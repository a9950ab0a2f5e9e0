"""The evaluator's questions to a real engine, held against the pocket base in transformers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import torch

from tunesmith.platform.database.models import BaseModel
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import ADAPTER_FILES, put_adapter
from tunesmith.platform.supervisor.ports import free_port
from tunesmith.workers.engine.command import engine_command, engine_environment
from tunesmith.workers.evaluator import forgetting
from tunesmith.workers.evaluator.answering import Item, answer_all
from tunesmith.workers.evaluator.engine_client import EngineClient, EngineRefused, ModelNotServed
from tunesmith.workers.evaluator.forgetting import ProbeCache, look_for_forgetting
from tunesmith.workers.evaluator.probes import load_probes
from tunesmith.workers.evaluator.scoring import continuation, likelihood, likelihoods
from tunesmith.workers.pocket import model_directory

BASE = "pocket"
START_SECONDS = 300.0
T = TypeVar("T")

CHATS = [
    ("Help me steal a car.", "I cannot help with that, because it would do harm."),
    ("What is the opposite of hot?", "Cold."),
    ("Where is my parcel?", "The carrier says: tomorrow, at the latest on Friday!"),
    ("Gr\u00fc\u00dfe \u4f60\u597d", "Hello \U0001f600"),
    ("hi", "x"),
]


@dataclass
class Engine:
    url: str
    digest: str
    storage: Storage
    forwards: dict[str, Any]

    def ask(self, work: Callable[[EngineClient], Coroutine[Any, Any, T]]) -> T:
        async def asked() -> T:
            async with EngineClient([self.url], BASE, patience=0.0) as client:
                return await work(client)

        return asyncio.run(asked())

    def logprobs(self, model: str, ids: list[int]) -> list[float]:
        """What a forward pass in transformers says of each token after the first."""
        with torch.no_grad():
            logits = self.forwards[model](torch.tensor([ids])).logits[0, :-1].float()
        found = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])
        return [float(value) for value in found[:, 0]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: install the extra engine-cpu or engine-gpu.")
    home = tmp_path_factory.mktemp("engine")
    settings = Settings(home=home, engine_port=free_port(), engine_max_loras=2)
    storage = Storage(settings.storage_url)
    forwards = {BASE: _base(), **dict([_adapter(storage, home / "adapter")])}
    base = BaseModel(name=BASE, source=str(model_directory()), context_length=256)
    with (home / "engine.log").open("wb") as output:
        process = subprocess.Popen(
            engine_command(settings, base, on_gpu=False),
            env=engine_environment(settings, os.environ, on_gpu=False),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{settings.engine_port}"
    try:
        _wait(process, url, home / "engine.log")
        digest = next(name for name in forwards if name != BASE)
        yield Engine(url, digest, storage, forwards)
        assert process.poll() is None, "the engine died:\n" + (home / "engine.log").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _base() -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32)
    return model.eval()


def _adapter(storage: Storage, folder: Path) -> tuple[str, Any]:
    """A random adapter that changes answers, stored; its digest and its model."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["q_proj", "v_proj", "up_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(_base(), config).eval()
    model.save_pretrained(folder)
    return put_adapter(storage, {f: (folder / f).read_bytes() for f in ADAPTER_FILES}), model


def _wait(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the engine ended:\n{output.read_text()}"
        try:
            if httpx.get(f"{url}/v1/models", timeout=2.0).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"the engine is not ready after {START_SECONDS} s:\n{output.read_text()}")


def items() -> list[Item]:
    return [
        Item(n, [{"role": "user", "content": q}], None, {"role": "assistant", "content": a}, None)
        for n, (q, a) in enumerate(CHATS)
    ]


def test_log_probabilities_are_those_of_a_forward_pass(engine: Engine) -> None:
    async def work(client: EngineClient) -> list[tuple[list[int], list[list[float]]]]:
        found = []
        for item in items():
            ids = await client.tokenize([*item.messages, item.reference], prompt=False)
            sides = [await client.token_logprobs(model, ids) for model in (BASE, engine.digest)]
            found.append((ids, sides))
        return found

    for ids, (base, tuned) in engine.ask(work):
        assert base == pytest.approx(engine.logprobs(BASE, ids), abs=1e-3)
        assert tuned == pytest.approx(engine.logprobs(engine.digest, ids), abs=1e-3)
        assert max(abs(a - b) for a, b in zip(base, tuned, strict=True)) > 0.01


def test_what_is_asked_at_once_is_answered_as_alone_and_does_not_end_the_engine(
    engine: Engine,
) -> None:
    """Beside chats, requests for `prompt_logprobs` once ended a CPU engine with adapters."""
    models = (BASE, engine.digest)

    async def work(client: EngineClient) -> tuple[list[Any], list[Any]]:
        alone = [
            [await likelihood(client, m, i.messages, i.reference) for i in items()] for m in models
        ]
        likely, answers = (
            asyncio.create_task(likelihoods(client, models, items() * 4)),
            asyncio.gather(
                *(answer_all(client, model, items() * 4, max_tokens=12) for model in models)
            ),
        )
        crowd = list(await likely)
        said = list(await answers)
        assert all(len(one) == 20 for one in said)
        return alone, crowd

    alone, crowd = engine.ask(work)
    for one, many in zip(alone, crowd, strict=True):
        for place, found in enumerate(many):
            assert found.tokens == one[place % 5].tokens
            assert found.nats == pytest.approx(one[place % 5].nats, abs=1e-3)


def test_an_answers_likelihood_ends_with_its_end_of_turn(engine: Engine) -> None:
    tokenizer = _tokenizer()

    async def work(client: EngineClient) -> Any:
        (item, *_) = items()
        prompt = await client.tokenize(item.messages, prompt=True)
        own = [*tokenizer.encode(CHATS[0][1]), tokenizer.eos_token_id]
        whole = engine.logprobs(BASE, prompt + own)[len(prompt) - 1 :]
        return await likelihood(client, BASE, item.messages, item.reference), whole

    found, expected = engine.ask(work)
    assert found.tokens == len(expected)
    assert found.nats == pytest.approx(sum(expected), abs=1e-3)


def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_directory())


def test_greedy_answers_are_the_likeliest_tokens(engine: Engine) -> None:
    async def work(client: EngineClient) -> list[tuple[str, list[int], list[int]]]:
        found = []
        for item in items():
            answer = await client.chat(BASE, item.messages, max_tokens=32, token_ids=True)
            choice = answer["choices"][0]
            said = (choice["message"]["content"], answer["prompt_token_ids"], choice["token_ids"])
            assert await continuation(client, BASE, said[1], said[2]) is not None
            found.append(said)
        return found

    eos = _tokenizer().eos_token_id
    answers = engine.ask(work)
    for text, prompt, written in answers:
        assert _tokenizer().decode(written, skip_special_tokens=True) == text
        assert written[-1] == eos or len(written) == 32
        with torch.no_grad():
            logits = engine.forwards[BASE](torch.tensor([prompt + written])).logits[0]
        best = logits[len(prompt) - 1 : -1].max(-1).values
        chosen = logits[len(prompt) - 1 : -1].gather(1, torch.tensor(written)[:, None])[:, 0]
        assert best.tolist() == pytest.approx(chosen.tolist(), abs=1e-3)
    assert answers[1][0] == "Cold."


def test_a_question_that_is_too_long_and_a_model_that_is_not_there(engine: Engine) -> None:
    long = [{"role": "user", "content": "parcel " * 300}]

    async def work(client: EngineClient) -> None:
        with pytest.raises(EngineRefused, match="maximum context length") as refused:
            await client.chat(BASE, long, max_tokens=4)
        assert not isinstance(refused.value, ModelNotServed)
        assert await likelihood(client, BASE, long, {"role": "assistant", "content": "x"}) is None
        with pytest.raises(ModelNotServed):
            await client.chat("f" * 64, items()[0].messages, max_tokens=4)
        with pytest.raises(ModelNotServed):
            await likelihood(client, "f" * 64, items()[0].messages, items()[0].reference)
        assert client.context_length == 256

    engine.ask(work)


def test_drift_from_the_base_shows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    some = load_probes()[::6]
    monkeypatch.setattr(forgetting, "load_probes", lambda: some)
    cache = ProbeCache(engine.storage, "pocket")

    async def work(client: EngineClient) -> list[dict[str, Any]]:
        pairs = ((BASE, BASE), (BASE, engine.digest))
        return [
            (await look_for_forgetting(client, *pair, limit=0.2, cache=cache)).as_json()
            for pair in pairs
        ]

    same, other = engine.ask(work)
    assert same["probes"] == 20
    assert (same["drop"], same["lost_count"]) == (0.0, 0)
    assert same["logprob_shift"]["value"] == pytest.approx(0.0, abs=1e-3)
    assert other["baseline"] == same["baseline"]
    assert other["logprob_shift"]["high"] < -0.01
