"""The sizes of linear layers, read from files, are those that the trainer finds in the model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from tunesmith.workers.bases import resolve_base
from tunesmith.workers.bases.linears import PLAIN, linear_sizes
from tunesmith.workers.trainer.base import load_shape

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def found_by_the_trainer(directory: Path) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for name, (fan_in, fan_out) in load_shape(directory).linears.items():
        sizes[name.rpartition(".")[2]] += fan_in + fan_out
    return dict(sizes)


def config_of(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


@pytest.mark.parametrize("model_type", sorted(PLAIN))
def test_headers_tell_what_the_model_has(model_type: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(model_type, **SMALL)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    sizes = linear_sizes(tmp_path, config_of(tmp_path), "d")
    assert sizes == found_by_the_trainer(tmp_path)
    assert sizes["o_proj"] == 2 * (32 + 32)


def test_other_models_are_looked_into_once(tmp_path: Path) -> None:
    config = AutoConfig.for_model("gpt_neox", **SMALL)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path / "base")
    cache = tmp_path / "cache" / "linears.json"
    base = tmp_path / "base"
    sizes = linear_sizes(base, config_of(base), "d", cache)
    assert sizes == found_by_the_trainer(base) != {}
    shutil.rmtree(base)
    assert linear_sizes(base, {"model_type": "gpt_neox"}, "d", cache) == sizes
    assert linear_sizes(base, {"model_type": "gpt_neox"}, "another", cache) == {}
    cache.write_text("not JSON")
    assert linear_sizes(base, {"model_type": "gpt_neox"}, "d", cache) == {}


def test_a_resolved_base_has_them(base_directory: Path) -> None:
    assert resolve_base(str(base_directory)).config["linears"] == found_by_the_trainer(
        base_directory
    )


def test_a_plain_base_is_resolved_without_torch(base_directory: Path) -> None:
    code = (
        "import sys; from tunesmith.workers.bases import resolve_base;"
        "print(resolve_base(sys.argv[1]).config['linears']['q_proj'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(base_directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[1] == "False"
