"""Adapters: bytes that depend on weights alone, PEFT reads them, bad ones are refused."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.adapter import AdapterFiles, digest, read_tensors
from tunesmith.workers.trainer.base import Base, load_shape
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import AdapterInvalid
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.report import StepReport
from tunesmith.workers.trainer.spec import SlotSpec
from tunesmith.workers.trainer.validation import validate_adapter

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]
Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def trained(base: Base, rows: Rows, spec: Spec) -> AdapterFiles:
    cohort = Cohort(base)
    cohort.join(spec(), rows(8))
    while not cohort.idle:
        cohort.step()
    files = cohort.adapter("a")
    cohort.leave("a")
    return files


def with_settings(files: AdapterFiles, **changes: Any) -> AdapterFiles:
    settings = json.loads(files.config) | changes
    return AdapterFiles(json.dumps(settings).encode(), files.weights)


def with_tensors(
    files: AdapterFiles, change: Callable[[dict[str, torch.Tensor]], object]
) -> AdapterFiles:
    tensors = read_tensors(files)
    change(tensors)
    return AdapterFiles(files.config, safetensors.torch.save(tensors))


def test_the_digest_is_as_defined() -> None:
    files = {"b": b"two", "a": b"one\0"}
    defined = b"a\0" + struct.pack(">Q", 4) + b"one\0" + b"b\0" + struct.pack(">Q", 3) + b"two"
    assert digest(files) == hashlib.sha256(defined).hexdigest()


def test_equal_weights_give_equal_bytes_and_nothing_else_is_inside(
    base: Base, base_directory: Path, trained: AdapterFiles, rows: Rows, spec: Spec
) -> None:
    cohort = Cohort(base)
    cohort.join(spec("customer-name"), rows(8))
    while not cohort.idle:
        cohort.step()
    again = cohort.adapter("customer-name")
    assert again.files == trained.files
    assert again.digest == trained.digest
    for content in again.files.values():
        assert b"customer-name" not in content
        assert str(base_directory).encode() not in content
    settings = json.loads(again.config)
    assert list(settings) == sorted(settings)
    header = json.loads(again.weights[8 : 8 + int.from_bytes(again.weights[:8], "little")])
    assert header["__metadata__"] == {"format": "pt"}


def test_peft_reads_it_and_computes_the_same(
    base: Base, base_directory: Path, trained: AdapterFiles, tmp_path: Path, rows: Rows, spec: Spec
) -> None:
    trained.write(tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    stock = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(stock, tmp_path / "adapter").eval()
    [row] = data = rows(1)
    ids = torch.tensor([list(row.input_ids)])
    labels = torch.where(torch.tensor(list(row.loss_mask), dtype=torch.bool), ids[0], -100)
    with torch.no_grad():
        theirs = float(tuned(input_ids=ids, labels=labels.unsqueeze(0)).loss)
        with tuned.disable_adapter():
            plain = float(tuned(input_ids=ids, labels=labels.unsqueeze(0)).loss)
    cohort = Cohort(base)
    cohort.join(spec(n_epochs=1), data, initial_adapter=trained)
    [report] = cohort.step()
    assert isinstance(report, StepReport)
    assert report.loss == pytest.approx(theirs, rel=1e-5)
    assert report.loss != pytest.approx(plain, rel=1e-2)


def test_reading_what_was_written(trained: AdapterFiles, tmp_path: Path) -> None:
    trained.write(tmp_path)
    (tmp_path / "README.md").write_text("as PEFT writes it")
    assert AdapterFiles.read(tmp_path) == trained
    for name in ("adapter_model.bin", "tokenizer.json", "adapter_model.pt"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(AdapterInvalid, match=name):
            AdapterFiles.read(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(AdapterInvalid, match=r"adapter_config\.json is missing"):
        AdapterFiles.read(tmp_path)
    with pytest.raises(AdapterInvalid, match="no directory"):
        AdapterFiles.read(tmp_path / "nowhere")


def test_a_sound_adapter_passes_in_every_form(
    base: Base, base_directory: Path, trained: AdapterFiles, tmp_path: Path
) -> None:
    trained.write(tmp_path)
    shape = load_shape(base_directory)
    assert shape == base.shape
    for form in (trained, trained.files, tmp_path, str(tmp_path)):
        config = validate_adapter(form, shape, max_rank=4)
        assert (config.rank, config.alpha, len(config.target_modules)) == (4, 8.0, 7)
    half = with_tensors(trained, lambda t: t.update({n: v.bfloat16() for n, v in t.items()}))
    validate_adapter(half, shape)


def test_what_peft_itself_saves_passes(base: Base, base_directory: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    stock = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "down_proj"])
    get_peft_model(stock, config).save_pretrained(tmp_path)
    assert validate_adapter(tmp_path, base.shape).target_modules == ("down_proj", "q_proj")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"rank_pattern": {"q_proj": 64}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 64}}, "alpha_pattern"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"some_feature_of_tomorrow": True}, "some_feature_of_tomorrow"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"target_modules": []}, "target_modules"),
        ({"target_modules": [1]}, "target_modules"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ({"target_modules": ["q_proj"]}, "fits no targeted layer"),
        ({"r": 0}, "positive integer"),
        ({"r": True}, "positive integer"),
        ({"r": "4"}, "positive integer"),
        ({"r": 8}, r"shape \[4, 128\], the base needs \[8, 128\]"),
        ({"r": 64}, "rank 64 is above 32"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"lora_dropout": "much"}, "lora_dropout"),
    ],
)
def test_settings_that_can_not_be_served(
    base: Base, trained: AdapterFiles, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AdapterInvalid, match=reason):
        validate_adapter(with_settings(trained, **changes), base.shape, max_rank=32)


def test_a_config_that_is_no_object(base: Base, trained: AdapterFiles) -> None:
    for config in (b"", b"[]", b"{", b"\xff\xfe"):
        with pytest.raises(AdapterInvalid, match="adapter_config"):
            validate_adapter(AdapterFiles(config, trained.weights), base.shape)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop(Q), "is missing"),
        (lambda t: t.clear(), "is missing"),
        (lambda t: t.update({Q: t[Q][:, :-1].contiguous()}), "shape"),
        (lambda t: t.update({Q: t[Q].to(torch.int32)}), "int32"),
        (lambda t: t.update({Q: t[Q].double()}), "float64"),
        (lambda t: t.update({Q: t[Q] * float("nan")}), "not finite"),
        (lambda t: t.update({Q: t[Q] * float("inf")}), "not finite"),
        (
            lambda t: t.update({Q.replace("q_proj", "z_proj"): t[Q].clone()}),
            "fits no targeted layer",
        ),
        (
            lambda t: t.update({Q.replace("layers.0", "layers.9"): t[Q].clone()}),
            "fits no targeted layer",
        ),
        (
            lambda t: t.update({"base_model.model.lm_head.lora_A.weight": t[Q].clone()}),
            "fits no targeted",
        ),
        (lambda t: t.update({Q.replace("base_model.", ""): t.pop(Q)}), "fits no targeted layer"),
    ],
)
def test_weights_that_do_not_fit(
    base: Base,
    trained: AdapterFiles,
    change: Callable[[dict[str, torch.Tensor]], object],
    reason: str,
) -> None:
    with pytest.raises(AdapterInvalid, match=reason):
        validate_adapter(with_tensors(trained, change), base.shape)


def test_weights_that_are_no_safetensors(base: Base, trained: AdapterFiles, tmp_path: Path) -> None:
    torch.save(read_tensors(trained), tmp_path / "pickle")
    for weights in (b"", trained.weights[:-1], (tmp_path / "pickle").read_bytes()):
        with pytest.raises(AdapterInvalid, match="not a safetensors file"):
            validate_adapter(AdapterFiles(trained.config, weights), base.shape)
