"""`python -m tunesmith.workers.trainer`: the core by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.workers.trainer.__main__ import main
from tunesmith.workers.trainer.adapter import AdapterFiles
from tunesmith.workers.trainer.base import load_shape
from tunesmith.workers.trainer.validation import validate_adapter


def example(number: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"{number} the printer"}
    return {"messages": [question, {"role": "assistant", "content": "full"}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "examples.jsonl"
    path.write_text("\ufeff" + "\n\n".join(json.dumps(example(n)) for n in range(6)))
    return path


def options(base: Path, data: Path, *more: str) -> list[str]:
    output = str(data.parent / "out")
    return ["--base", str(base), "--data", str(data), "--output", output, "--device", "cpu", *more]


def test_it_trains_validates_and_writes_a_servable_adapter(
    base_directory: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--validation", str(data), "--epochs", "3", "--batch-size", "2", "--max-rank", "8")
    assert main(options(base_directory, data, *more)) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["step"] == summary["total_steps"] == 9
    assert summary["tokens_per_second"] > 0
    assert printed.err.count("validation loss") == 3
    assert "6 rows" in printed.err
    adapter = AdapterFiles.read(data.parent / "out")
    assert adapter.digest == summary["digest"]
    assert validate_adapter(adapter, load_shape(base_directory), max_rank=8).rank == 8


def test_what_it_refuses(
    base_directory: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*more: str) -> str:
        assert main(options(base_directory, data, *more)) == 1
        assert not (data.parent / "out").exists()
        return capsys.readouterr().err

    assert "n_epochs must be an integer from 1 to 50, got 51" in refusal("--epochs", "51")
    assert "nowhere" in refusal("--validation", str(data.parent / "nowhere"))
    assert "is no model directory" in refusal("--base", str(data.parent))
    data.write_text(json.dumps(example(1)) + "\n{broken\n")
    assert "line 2: not JSON" in refusal()
    data.write_text(json.dumps(example(1)) + "\n" + json.dumps({"messages": []}) + "\n")
    assert "example 2: no assistant message" in refusal()
    with pytest.raises(SystemExit):
        main(options(base_directory, data, "--epochs", "many"))
    assert "invalid int value: 'many'" in capsys.readouterr().err


def test_a_state_of_other_data_is_not_continued(
    base_directory: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = data.parent / "state"
    more = ("--state", str(state), "--epochs", "1")
    assert main(options(base_directory, data, *more)) == 0
    kept = state.read_bytes()
    data.write_text("".join(json.dumps(example(n)) + "\n" for n in range(10, 16)))
    assert main(options(base_directory, data, *more)) == 1
    assert "trained on other data" in capsys.readouterr().err
    assert state.read_bytes() == kept
