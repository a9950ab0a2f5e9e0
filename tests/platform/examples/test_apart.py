"""Parquet files and sheets in a process of their own: what ends it ends nobody else."""

from __future__ import annotations

import contextlib
from io import BytesIO
from pathlib import Path

import polars as pl
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.platform.examples.workbooks import sheet_data, workbook

from tunesmith.platform.examples import ExamplesError, apart, read_examples


def parquet(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


GOOD = parquet(pl.DataFrame({"prompt": ["a"] * 3000, "completion": [f"b{n}" for n in range(3000)]}))


_OTHERS: set[psutil.Process] = set()  # servers that fixtures of this run keep


@pytest.fixture(autouse=True)
def _others() -> None:
    _OTHERS.clear()
    _OTHERS.update(psutil.Process().children())


def children() -> list[psutil.Process]:
    """The processes that this test started and that are still there."""
    return [child for child in psutil.Process().children() if child not in _OTHERS]


def test_both_kinds_are_read_with_all_that_they_hold() -> None:
    examples = list(read_examples(BytesIO(GOOD), "t.parquet"))
    assert [e.line for e in examples] == list(range(1, 3001))
    assert examples[2999].messages[1]["content"] == "b2999"
    rows: list[list[object]] = [["prompt", "completion"]]
    rows += ([f"q{n} ü\n", f"a{n}"] for n in range(20))
    examples = list(read_examples(BytesIO(workbook(sheet_data(rows))), "t.xlsx"))
    assert examples[0].messages[0]["content"] == "q0 ü\n"
    assert examples[0].line == 2
    assert children() == []


def test_problems_cross_over(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt": ["a", "", "c"], "completion": ["x", "y", ""]})
    with pytest.raises(ExamplesError) as error:
        list(read_examples(BytesIO(parquet(frame)), "t.parquet"))
    assert [problem.line for problem in error.value.problems] == [2, 3]
    with pytest.raises(ExamplesError, match="no column `messages`"):
        list(read_examples(BytesIO(parquet(pl.DataFrame({"x": ["a"]}))), "t.parquet"))


@pytest.mark.parametrize(
    "does",
    ["kill -ABRT $$", "exec sleep 60", """printf '["format", "parquet pairs"]\\n["exam'"""],
    ids=["dies", "hangs", "dies in a line"],
)
def test_a_process_that_ends_or_hangs_is_a_damaged_file(
    monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    monkeypatch.setattr(apart, "_PROCESS", ["sh", "-c", does])
    monkeypatch.setattr(apart, "_SILENT_SECONDS", 0.5)
    with pytest.raises(ExamplesError, match="the library that reads it ended"):
        list(read_examples(BytesIO(GOOD), "t.parquet"))
    assert children() == []


def test_a_reader_that_has_enough_ends_the_process() -> None:
    rows = read_examples(BytesIO(GOOD), "t.parquet")
    assert next(rows).line == 1
    assert len(children()) == 1
    rows.close()  # type: ignore[attr-defined]
    assert children() == []


def test_the_process_has_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "sk-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    rows = read_examples(BytesIO(GOOD), "t.parquet")
    next(rows)
    (child,) = children()
    assert set(child.environ()) <= {*apart._PASSED_ON, "POLARS_MAX_THREADS", "LC_CTYPE"}
    rows.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "most"),
    [("1073741824\n", 1024**3 // 3), ("max\n", 2 * 1024**3), ("1000000", 384 * 1024**2)],
)
def test_memory_goes_by_the_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, most: int
) -> None:
    (tmp_path / "memory.max").write_text(said)
    monkeypatch.setattr(apart, "_CGROUP", tmp_path / "memory.max")
    assert apart.memory_bytes() == max(most, 384 * 1024**2)


@pytest.mark.parametrize("nested", [False, True])
def test_a_text_that_rows_repeat_is_not_in_memory_once_for_each(
    nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet keeps the text once: two kilobytes name gigabytes."""
    monkeypatch.setattr(apart, "memory_bytes", lambda: 600 * 1024**2)
    text = pl.Series("prompt", ["x" * 7 * 2**20]).cast(pl.Categorical)
    frame = pl.DataFrame({"prompt": text}).select(pl.col("prompt").repeat_by(200).explode())
    if nested:
        messages = [
            pl.struct(role=pl.lit(role), content="prompt") for role in ("user", "assistant")
        ]
        data = parquet(frame.select(messages=pl.concat_list(messages)))
        with pytest.raises(ExamplesError, match="longer than 8 MiB"):
            list(read_examples(BytesIO(data), "t.parquet"))
        return
    data = parquet(frame.with_columns(completion=pl.lit("y")))
    assert len(data) < 10_000
    rows = read_examples(BytesIO(data), "t.parquet")
    assert [next(rows).line for _ in range(4)] == [1, 2, 3, 4]
    rows.close()  # type: ignore[attr-defined]


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_damage_is_never_a_traceback(data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ExamplesError):
        list(read_examples(BytesIO(bytes(damaged)), "t.parquet"))
