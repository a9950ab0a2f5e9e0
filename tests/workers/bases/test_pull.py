"""Pulling a base's files: whole or not at all, once, from where it is said."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from tunesmith.workers.bases import BaseNotUsable, base_digest
from tunesmith.workers.bases.pull import MARK, check_whole, main, pull
from tunesmith.workers.pocket import model_directory


def test_the_built_in_base_is_copied_whole(tmp_path: Path) -> None:
    target = tmp_path / "models" / "pocket"
    assert pull("pocket", target) is True
    assert base_digest(target) == base_digest(model_directory())


def test_pulling_again_does_nothing(tmp_path: Path) -> None:
    target = tmp_path / "pocket"
    pull("pocket", target)
    before = target.stat().st_ino, (target / "config.json").stat().st_ino
    assert pull("pocket", target) is False
    assert (target.stat().st_ino, (target / "config.json").stat().st_ino) == before


def test_another_base_in_the_directory_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "base"
    pull("pocket", target)
    with pytest.raises(BaseNotUsable, match="holds pocket, not hub:a/b"):
        pull("hub:a/b", target)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious").touch()
    with pytest.raises(BaseNotUsable, match="files of unknown origin"):
        pull("pocket", foreign)
    assert (foreign / "precious").exists()


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    assert pull("pocket", tmp_path / "base") is True


@pytest.mark.parametrize("origin", ["", "ftp://x/y", "Qwen/Qwen2.5", "/models/x"])
def test_an_unknown_origin_is_refused(origin: str, tmp_path: Path) -> None:
    with pytest.raises(BaseNotUsable, match="names no base"):
        pull(origin, tmp_path / "base")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for s3://bucket."""
    import fsspec

    folder = tmp_path / "bucket"
    shutil.copytree(model_directory(), folder / "models" / "x")
    local = fsspec.filesystem("file")
    monkeypatch.setattr(
        fsspec.core,
        "url_to_fs",
        lambda url: (local, str(folder / url.removeprefix("s3://bucket/"))),
    )
    return folder / "models" / "x"


def test_a_bucket_is_copied_whole(bucket: Path, tmp_path: Path) -> None:
    (bucket / "sub").mkdir()
    (bucket / "sub" / "notes.txt").write_text("x")
    target = tmp_path / "base"
    assert pull("s3://bucket/models/x", target) is True
    assert base_digest(target) == base_digest(bucket)
    assert (target / "sub" / "notes.txt").read_text() == "x"


def test_what_was_cut_off_is_gone_on_with(bucket: Path, tmp_path: Path) -> None:
    weights = bucket / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    target = tmp_path / "base"
    with pytest.raises(BaseNotUsable, match=r"no \*\.safetensors"):
        pull("s3://bucket/models/x", target)
    assert not target.exists()
    kept = tmp_path / ".base.partial" / "config.json"
    mark = kept.stat().st_ino
    weights.write_bytes(whole)
    assert pull("s3://bucket/models/x", target) is True
    assert (target / "config.json").stat().st_ino == mark
    assert not kept.parent.exists()


def test_a_half_of_another_origin_is_dropped(bucket: Path, tmp_path: Path) -> None:
    partial = tmp_path / ".base.partial"
    partial.mkdir()
    (partial / MARK).write_text(json.dumps({"origin": "hub:a/b"}))
    (partial / "old.json").write_text("{}")
    pull("s3://bucket/models/x", tmp_path / "base")
    assert not (tmp_path / "base" / "old.json").exists()


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_cut_off_weights_are_noticed(cut: int, bucket: Path, tmp_path: Path) -> None:
    weights = bucket / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - cut)
    with pytest.raises(BaseNotUsable, match=r"bytes, and \d+ by its own header"):
        pull("s3://bucket/models/x", tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_weights_that_are_none_are_noticed(bucket: Path, tmp_path: Path) -> None:
    (bucket / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(BaseNotUsable, match="cut off or damaged"):
        pull("s3://bucket/models/x", tmp_path / "base")


def test_weights_that_the_index_names_have_to_be_there(tmp_path: Path) -> None:
    shutil.copytree(model_directory(), tmp_path / "base")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (tmp_path / "base" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BaseNotUsable, match=r"lacks model-00002\.safetensors"):
        check_whole(tmp_path / "base", "hub:a/b")


def test_a_place_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseNotUsable, match=r"no config\.json"):
        check_whole(tmp_path, "hub:a/b")


def test_of_several_at_once_one_fetches(tmp_path: Path) -> None:
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(pull("pocket", tmp_path / "base")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pull", "nothing", str(tmp_path / "base")])
    assert main() == 1
    assert "names no base" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["pull"])
    assert main() == 2
    monkeypatch.setattr("sys.argv", ["pull", "pocket", str(tmp_path / "base")])
    assert main() == 0
