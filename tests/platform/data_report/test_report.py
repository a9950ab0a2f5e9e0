"""The whole report: its figures, broken files, the page, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tunesmith.platform.cli.check import base_directory, check
from tunesmith.platform.data_report.page import report_page
from tunesmith.platform.data_report.report import build_report, check_file
from tunesmith.platform.data_report.tokens import TokenCounter
from tunesmith.platform.examples import read_examples

SCRIPT = "<script>alert('x')</script>"


def write(path: Path, pairs: list[tuple[str, str]]) -> Path:
    rows = (json.dumps({"prompt": asked, "completion": said}) for asked, said in pairs)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def tickets(refund: int, order: int) -> list[tuple[str, str]]:
    return [
        (f"{'money back' if label == 'refund' else 'where is'} case {n} of {label}", label)
        for label, count in (("refund", refund), ("order", order))
        for n in range(count)
    ]


@pytest.fixture
def run() -> Any:
    app = typer.Typer()
    app.command()(check)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def test_a_report_has_the_files_figures(tmp_path: Path) -> None:
    pairs = [*tickets(60, 60), tickets(1, 0)[0]]
    path = write(tmp_path / "a.jsonl", pairs)
    counter = TokenCounter.from_directory(base_directory("pocket"))
    report = check_file(path, tokens=counter, epochs=2, seconds_per_token=0.001).as_json()
    assert (report["rows"], report["distinct"]) == (121, 120)
    assert {label["label"]: label["rows"] for label in report["labels"]} == {
        "refund": 61,
        "order": 60,
    }
    with path.open("rb") as stream:
        counts = list(counter.count(read_examples(stream, "a.jsonl")))
    tokens = report["tokens"]
    assert tokens["total"] == sum(counted.tokens for counted in counts)
    assert tokens["learned"] == sum(counted.learned for counted in counts)
    assert tokens["seconds"] == pytest.approx(2 * tokens["total"] * 0.001)
    assert report["worst"] == "note"
    order = [finding["severity"] for finding in report["findings"]]
    assert order == sorted(order, key=["blocks", "warns", "note"].index)


def test_a_broken_file_lists_all_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    good = json.dumps({"prompt": "a", "completion": "b"})
    path.write_text(f"{good}\nnot json\n{good}\n{{}}\n" + "[\n" * 30)
    report = check_file(path)
    lines = [finding.rows for finding in report.findings]
    assert lines[:2] == [(2,), (4,)]
    assert report.worst == "blocks"
    assert all(finding.details["problems"] == 32 for finding in report.findings)
    assert "32 in all" in report.findings[-1].message
    assert "line 2" in report_page(report, path.name)


def test_the_page_escapes_data_and_loads_nothing(tmp_path: Path) -> None:
    pairs = [*tickets(60, 60), *((f"{SCRIPT} {n}", SCRIPT) for n in range(30))]
    pairs += [(f"{SCRIPT} same", "refund"), (f"{SCRIPT} same", "order")]
    report = check_file(write(tmp_path / "a.jsonl", pairs))
    page = report_page(report, f"{SCRIPT}.jsonl")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3  # the name, a label, an example
    for loading in ("src=", "href=", "url(", "@import", "http"):
        assert loading not in page.replace("http-equiv", "")


def test_an_empty_source_is_reported_not_raised() -> None:
    report = build_report([])
    assert report.rows == 0
    assert [finding.check for finding in report.findings] == ["too_few_examples"]


def test_the_command_catches_90_against_30_and_writes_a_rebalanced_file(
    tmp_path: Path, run: Any
) -> None:
    path = write(tmp_path / "a.jsonl", tickets(270, 30))
    sample = write(tmp_path / "p.jsonl", tickets(30, 70))
    page, out = tmp_path / "a.html", tmp_path / "out.jsonl"
    result = run(path, "--production", sample, "--html", page, "--rebalance", out)
    assert result.exit_code == 0
    assert "'refund' is 90% of these answers and 30% of production" in result.output
    assert "production" in page.read_text()
    shifted = check_file(out, production=sample)
    assert shifted.labels == {"order": 30, "refund": 13}
    assert run(path, "--production", sample, "--strict").exit_code == 1


def test_the_command_fails_when_something_blocks(tmp_path: Path, run: Any) -> None:
    path = write(tmp_path / "a.jsonl", tickets(3, 3))
    result = run(path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["worst"] == "blocks"
    assert run(path, "--html", path).exit_code == 2
    assert path.read_text().count("\n") == 6


def test_the_command_renames_columns_and_redacts(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "a.csv"
    rows = [f"call me at jane{n}@example.org about {n},done" for n in range(60)]
    path.write_text("ticket,answer\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out.jsonl"
    result = run(
        path, "--column", "ticket=prompt", "--column", "answer=completion", "--redact", out
    )
    assert result.exit_code == 0, result.output
    assert "@example.org" not in out.read_text()
    assert "@example.org" in path.read_text()


def test_the_other_files_need_not_have_the_renamed_columns(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text("ticket,completion\n" + "".join(f"q {n},a {n}\n" for n in range(60)))
    held_out = tmp_path / "held-out.csv"
    held_out.write_text("prompt,completion\nq 7,a 7\n")
    result = run(path, "--column", "ticket=prompt", "--validation", held_out)
    assert "leakage" in result.stdout
