"""The report that an evaluator makes of a stored file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tunesmith.platform.cli.check import base_directory
from tunesmith.platform.examples import write_normalised
from tunesmith.platform.storage import ObjectNotFound, Storage
from tunesmith.workers.evaluator.reporting import ReportWork, make_report

KEY = "tenants/t/examples/x.jsonl"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(str(tmp_path / "storage"))
    rows = "".join(f"what is number {n}?,it is {n}\n" for n in range(60))
    with made.writer(KEY) as out:
        write_normalised(io.BytesIO(f"prompt,completion\n{rows}".encode()), "a.csv", out)
    return made


def work(storage: Storage, directory: Path | None, key: str = KEY) -> ReportWork:
    return ReportWork(storage.url, key, None if directory is None else str(directory), 512)


def test_tokens_are_counted_with_the_bases_own_tokenizer(storage: Storage) -> None:
    found = make_report(work(storage, base_directory("pocket")))
    assert found["rows"] == 60
    assert found["tokens"]["learned"] > 60
    assert "tokens_not_counted" not in {finding["check"] for finding in found["findings"]}


@pytest.mark.parametrize("with_folder", [True, False])
def test_without_a_tokenizer_there_is_a_report_that_says_so(
    storage: Storage, tmp_path: Path, with_folder: bool
) -> None:
    found = make_report(work(storage, tmp_path if with_folder else None))
    assert (found["rows"], found["tokens"]) == (60, None)
    (note,) = (f for f in found["findings"] if f["check"] == "tokens_not_counted")
    assert ("tokenizer.json" if with_folder else "no base") in note["message"]
    assert found["counts"]["note"] == sum(f["severity"] == "note" for f in found["findings"])


def test_a_file_that_was_deleted_is_told_apart(storage: Storage) -> None:
    with pytest.raises(ObjectNotFound):
        make_report(work(storage, None, key="tenants/t/examples/gone.jsonl"))
