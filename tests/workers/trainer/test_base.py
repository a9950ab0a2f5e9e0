"""Loading a base: offline, frozen, with the limits that serving has; clear refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, Qwen3Config

from tunesmith.workers.trainer.adapter import read_tensors
from tunesmith.workers.trainer.base import Base, as_base, load_base, load_shape
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import BaseUnusable
from tunesmith.workers.trainer.render import Renderer, Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.spec import SlotSpec
from tunesmith.workers.trainer.validation import validate_adapter

CONTEXT = 256


@pytest.fixture
def copy_of_base(base_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_directory, tmp_path / "base"))


def edit(file: Path, **changes: Any) -> None:
    settings = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(settings))


def test_a_base_is_frozen_float32_and_aligned_on_cpu(base: Base) -> None:
    assert base.context_length == CONTEXT
    assert base.stop_ids == {base.tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert not base.model.training
    for parameter in base.model.parameters():
        assert parameter.dtype == torch.float32
        assert not parameter.requires_grad
        assert parameter.data_ptr() % 64 == 0
    assert base.environment["threads"] == torch.get_num_threads()


def test_its_shape_names_every_linear_layer_but_the_output(
    base: Base, base_directory: Path
) -> None:
    assert base.shape == load_shape(base_directory)
    assert (base.shape.model_type, base.shape.hidden_size) == ("llama", 64)
    assert len(base.shape.linears) == 2 * 7
    assert base.shape.linears["model.layers.1.mlp.down_proj"] == (128, 64)
    per_layer = 2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128)
    assert base.shape.lora_parameters(3) == 3 * 2 * per_layer


def test_the_tightest_context_counts(copy_of_base: Path) -> None:
    assert load_base(copy_of_base, "cpu", context_length=100).context_length == 100
    assert load_base(copy_of_base, "cpu", context_length=1000).context_length == CONTEXT
    edit(copy_of_base / "tokenizer_config.json", model_max_length=77)
    assert load_base(copy_of_base, "cpu").context_length == 77


def test_every_stop_token_of_generation_counts(copy_of_base: Path) -> None:
    edit(copy_of_base / "generation_config.json", eos_token_id=[0, 7])
    base = load_base(copy_of_base, "cpu")
    assert base.stop_ids == {0, 7, base.tokenizer.eos_token_id}


def test_threads_are_set_for_the_process(base_directory: Path) -> None:
    before = torch.get_num_threads()
    try:
        assert load_base(base_directory, "cpu", threads=2).environment["threads"] == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_no_base(copy_of_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match=r"config\.json is missing"):
        load_base(tmp_path / "nowhere", "cpu")
    (copy_of_base / "model.safetensors").rename(tmp_path / "aside")
    with pytest.raises(BaseUnusable, match="no loadable causal language model"):
        load_base(copy_of_base, "cpu")
    (tmp_path / "aside").rename(copy_of_base / "model.safetensors")
    (copy_of_base / "chat_template.jinja").unlink()
    with pytest.raises(BaseUnusable, match="no chat template"):
        load_base(copy_of_base, "cpu")


def test_a_base_that_could_never_stop(copy_of_base: Path) -> None:
    edit(copy_of_base / "tokenizer_config.json", eos_token=None)
    special = copy_of_base / "special_tokens_map.json"
    if special.exists():
        edit(special, eos_token=None)
    edit(copy_of_base / "generation_config.json", eos_token_id=None)
    with pytest.raises(BaseUnusable, match="never stop"):
        Renderer.from_directory(copy_of_base)


def save(config: Any, directory: Path) -> None:
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(directory)


SMALL: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": CONTEXT,
}


@pytest.mark.parametrize("config", [Qwen3Config(**SMALL), Gemma3TextConfig(**SMALL)])
def test_other_families_train_and_export(
    config: Any, copy_of_base: Path, rows: Callable[..., list[Row]], spec: Callable[..., SlotSpec]
) -> None:
    """Qwen ties its embeddings; Gemma scales and caps what its head returns."""
    torch.manual_seed(1)
    save(config, copy_of_base)
    base = load_base(copy_of_base, "cpu")
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=4), rows(8))
    losses = []
    while not cohort.idle:
        for report in cohort.step():
            assert isinstance(report, StepReport)
            losses.append(report.loss)
    assert losses[-1] < losses[0]
    assert validate_adapter(cohort.adapter("a"), load_shape(copy_of_base)).rank == 4


def test_a_base_without_linear_layers(copy_of_base: Path) -> None:
    """GPT-2 has its own kind of layer, to which no engine adds LoRA."""
    config = GPT2Config(vocab_size=384, n_embd=64, n_layer=1, n_head=4, n_positions=CONTEXT)
    save(config, copy_of_base)
    with pytest.raises(BaseUnusable, match="gpt2 model has no linear layers"):
        load_base(copy_of_base, "cpu")


class Repacking(torch.nn.Linear):
    """As bitsandbytes' on CPU: in eval mode it turns to kernels that have no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.training else super().forward(x.detach())


def test_a_quantised_layer_is_not_put_into_eval_mode(
    base_directory: Path, rows: Callable[..., list[Row]], spec: Callable[..., SlotSpec]
) -> None:
    plain = load_base(base_directory, "cpu")
    model = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32)
    for layer in model.model.layers:
        layer.mlp.up_proj.__class__ = Repacking
    quantised = as_base(model, None, context_length=CONTEXT, stop_ids=plain.stop_ids)
    results = []
    for base in (plain, quantised):
        cohort = Cohort(base)
        cohort.join(spec(), rows(8))
        while not cohort.idle:
            cohort.step()
        results.append(read_tensors(cohort.adapter("a")))
    assert all(torch.allclose(results[0][name], results[1][name], atol=1e-5) for name in results[0])


def test_a_4_bit_base_without_its_library_says_what_to_install(
    base_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BaseUnusable, match="pip install bitsandbytes"):
        load_base(base_directory, "cpu", quantization="4bit")
