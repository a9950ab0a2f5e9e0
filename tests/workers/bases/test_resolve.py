"""What can be a base, and how it is told apart from another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.workers.bases import BaseNotUsable, base_digest, default_name, resolve_base


@pytest.fixture
def copy(base_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_directory, tmp_path / "my-base"))


def test_a_directory_is_a_base_named_like_itself(copy: Path) -> None:
    base = resolve_base(str(copy))
    assert base.name == "my-base" == default_name(str(copy))
    assert base.directory == copy
    assert base.context_length == 256
    assert base.config["hidden_size"] == 64


def test_a_given_name_wins(copy: Path) -> None:
    assert resolve_base(str(copy), name="support").name == "support"


def test_the_pocket_base_needs_no_path() -> None:
    assert resolve_base("pocket").name == "tunesmith-pocket"


def test_a_name_that_looks_like_a_tuned_model_is_refused(copy: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be named 'ft:x'"):
        resolve_base(str(copy), name="ft:x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json is missing"),
        (lambda d: (d / "config.json").write_text("{"), "is damaged"),
        (lambda d: (d / "config.json").write_text("[]"), "no JSON object"),
        (lambda d: _change(d / "config.json", architectures=["BertModel"]), "BertModel"),
        (lambda d: (d / "model.safetensors").rename(d / "model.bin"), "safetensors"),
        (lambda d: (d / "tokenizer_config.json").unlink(), "tokenizer_config.json is missing"),
        (lambda d: _remove_template(d), "no chat template"),  # noqa: PLW0108 - defined below
    ],
)
def test_what_cannot_be_used_says_why(copy: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(copy)
    with pytest.raises(BaseNotUsable, match=message):
        resolve_base(str(copy))


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _remove_template(directory: Path) -> None:
    for path in directory.glob("chat_template.*"):
        path.unlink()
    _change(directory / "tokenizer_config.json", chat_template=None)


def test_a_missing_directory_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(BaseNotUsable, match="no directory '/nowhere/model'"):
        resolve_base("/nowhere/model")


def test_a_hub_id_that_cannot_be_had_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseNotUsable, match="neither a directory here nor"):
        resolve_base("nobody/no-such-model")


def test_the_digest_follows_content_and_nothing_else(copy: Path, tmp_path: Path) -> None:
    before = base_digest(copy)
    (copy / "README.md").write_text("words")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "x.json").write_text("{}")
    elsewhere = Path(shutil.copytree(copy, tmp_path / "elsewhere"))
    assert base_digest(elsewhere) == before
    _change(copy / "tokenizer_config.json", chat_template="{{ messages }}")
    assert base_digest(copy) != before


def test_a_remembered_digest_is_the_same_and_notices_a_change(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "digests.json"
    before = base_digest(copy, cache)
    assert before == base_digest(copy, cache) == base_digest(copy)
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-1] + b"\xff")
    assert base_digest(copy, cache) == base_digest(copy) != before
    cache.write_text("not JSON")
    assert base_digest(copy, cache) == base_digest(copy)
