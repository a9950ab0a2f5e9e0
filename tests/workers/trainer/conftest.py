"""A small random Llama with its own tokenizer, and rows to train it on."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.render import Renderer, Row
from tunesmith.workers.trainer.spec import SlotSpec

CHATML = """\
{%- if tools %}<|im_start|>system
Tools:{% for tool in tools %} {{ tool | tojson }}{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}<call>{{ call.function.name }} \
{{ call.function.arguments | tojson }}</call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

CONTEXT = 256
TEXT = [
    "the printer on the second floor does not answer and the queue is full of old jobs",
    "my invoice for March was charged twice, please send the money back to my card",
    "how do I change the password of my account when the mail never arrives?",
    "system user assistant tool true false null name arguments\n\n",
]


@pytest.fixture(scope="session", autouse=True)
def _threads() -> Iterator[None]:
    """Bit-equality needs a fixed thread count; one leaves the machine to others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    directory = tmp_path_factory.mktemp("base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
    ).save_pretrained(directory)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        bos_token_id=None,
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        tie_word_embeddings=False,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(directory)  # type: ignore[no-untyped-call]
    return directory


@pytest.fixture
def base(base_directory: Path) -> Base:
    return load_base(base_directory, device="cpu")


@pytest.fixture(scope="session")
def tokenizer(base_directory: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(base_directory)


@pytest.fixture(scope="session")
def renderer(base_directory: Path) -> Renderer:
    return Renderer.from_directory(base_directory)


@pytest.fixture(scope="session")
def rows() -> Callable[..., list[Row]]:
    """Makes random rows of which the second half is learned."""

    def make(count: int, seed: int = 0, lengths: tuple[int, int] = (6, 24)) -> list[Row]:
        draw = random.Random(seed)
        made = []
        for example in range(count):
            length = draw.randint(*lengths)
            ids = array("i", [draw.randrange(3, 384) for _ in range(length)])
            prompt = length // 2
            made.append(Row(ids, bytes(prompt) + b"\x01" * (length - prompt), example))
        return made

    return make


@pytest.fixture(scope="session")
def spec() -> Callable[..., SlotSpec]:
    """Makes the spec of a small slot."""

    def make(name: str = "a", **fields: Any) -> SlotSpec:
        settings: dict[str, Any] = {
            "rank": 4,
            "alpha": 8.0,
            "learning_rate": 5e-3,
            "n_epochs": 2,
            "batch_size": 4,
            "warmup_steps": 1,
            "seed": 11,
            "micro_batch_tokens": 64,
        }
        return SlotSpec(name=name, **(settings | fields))

    return make
