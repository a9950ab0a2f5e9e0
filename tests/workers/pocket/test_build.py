"""A tiny build, twice: the same bytes, and a directory that loads."""

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.workers.pocket.build import build
from tunesmith.workers.pocket.pretraining import Recipe
from tunesmith.workers.pocket.tokenization import CHAT_TEMPLATE, pieces

_TINY = Recipe(
    hidden_size=128, layers=2, intermediate_size=192, vocabulary=600, steps=5, tokens_per_step=512
)


def _digests(directory: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()
    }


def test_two_builds_give_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("first", "second"):
            build(tmp_path / name, _TINY, tokenizer_documents=500)
    finally:
        torch.set_num_threads(threads)
    first = _digests(tmp_path / "first")
    assert first == _digests(tmp_path / "second")
    assert "model.safetensors" in first
    assert "step 5/5" in capsys.readouterr().err
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "first")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "first", dtype=torch.float32)
    assert model.config.vocab_size == len(tokenizer) == 600
    assert model.config.eos_token_id == tokenizer.eos_token_id


def test_pretraining_renders_chats_as_the_template_does(tmp_path: Path) -> None:
    build(tmp_path, _TINY, tokenizer_documents=200)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    chat = [("system", "Be kind."), ("user", "Hi\nthere"), ("assistant", "Hello!")]
    messages = [{"role": role, "content": content} for role, content in chat]
    assert tokenizer.chat_template == CHAT_TEMPLATE
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert "".join(text for text, _ in pieces(chat)) == rendered
