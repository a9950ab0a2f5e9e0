"""The commands of evaluations against a small HTTP server: what they send, what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.cli import evaluations

from .conftest import FakePlatform, Run
from .test_commands import _FILE

RESULT = {
    "verdict": "better",
    "summary": "better: 10.0% before, 90.0% after.",
    "reasons": ["McNemar, exact: p = 0.001."],
    "metric": {"name": "label accuracy"},
    "baseline": {"value": 0.1, "n": 2},
    "candidate": {"value": 0.9, "n": 2},
    "difference": {"value": 0.8, "low": 0.5, "high": 0.95},
    "metrics": [{"name": "macro-F1", "baseline": 0.12, "candidate": 0.88}],
    "perplexity": {"baseline": 40.0, "candidate": 1.5},
    "constant_answer": {"answer": "billing", "value": 0.3},
    "forgetting": {"summary": "a loss of 27 points.", "within_limit": False},
    "selection": None,
}


def evaluation(status: str = "completed", **more: Any) -> dict[str, Any]:
    ended = status == "completed"
    return {
        "id": "evalrun_1",
        "status": status,
        "model": "ft:pocket:acme::1",
        "baseline": "pocket",
        "created_at": 1_700_000_000,
        "result": RESULT if ended else None,
        "error": None,
    } | more


def item(text: str, before: float, after: float) -> dict[str, Any]:
    return {
        "input": text,
        "reference": "billing",
        "baseline_answer": "no",
        "candidate_answer": "billing",
        "baseline_score": before,
        "candidate_score": after,
    }


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "_POLL_SECONDS", 0.0)


def test_compare_waits_for_the_verdict_and_shows_what_it_rests_on(
    run: Run, fake: FakePlatform, tmp_path: Path
) -> None:
    states = iter([evaluation("queued"), evaluation("in_progress"), evaluation()])
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/evaluation", lambda: next(states))
    items = [item("won", 0.0, 1.0), item("lost", 1.0, 0.0), item("same", 1.0, 1.0)]
    fake.on("GET", "/v1/evaluations/evalrun_1/output_items", {"data": items})
    fake.on("GET", "/v1/evaluations/evalrun_1/report", b"<html>")
    page = tmp_path / "page.html"
    done = run("jobs", "compare", "ftjob-1", "--html", str(page))
    assert done.code == 0, done.err
    for said in (
        "Verdict: better. 10.0% before",
        "+80.0 (+50.0 to +95.0)",
        "macro-F1",
        "always answering",
        "a loss of 27 points.",
        "Got better: 1 of 3",
        "Got worse: 1 of 3",
    ):
        assert said in done.out, said
    assert page.read_bytes() == b"<html>"
    assert "same" not in done.out


def test_create_sends_what_was_asked_and_uploads_a_local_file(
    run: Run, fake: FakePlatform, tmp_path: Path
) -> None:
    examples, grader = tmp_path / "test.csv", tmp_path / "grader.json"
    examples.write_text("prompt,completion\na,b\n")
    grader.write_text('{"type": "string_check", "operation": "eq"}')
    fake.on("POST", "/v1/files", _FILE)
    fake.on("POST", "/v1/evaluations", evaluation("queued"))
    fake.on("GET", "/v1/evaluations/evalrun_1", evaluation())
    done = run(
        "evaluations", "create", "ft:x", "--file", str(examples), "--grader", str(grader),
        "--bar", "0.1", "--json",
    )  # fmt: skip
    assert done.json()["result"]["verdict"] == "better"
    sent = next(asked for asked in fake.asked if asked.path == "/v1/evaluations").json()
    assert sent == {
        "model": "ft:x",
        "file": "file-1",
        "minimum_relative_improvement": 0.1,
        "testing_criteria": [{"type": "string_check", "operation": "eq"}],
    }


def test_list_and_cancel(run: Run, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/evaluations", {"data": [evaluation(), evaluation("queued")]})
    lines = run("evaluations", "list", "--model", "ft:a b").out.splitlines()
    assert [line.split("\t")[1:3] for line in lines[1:]] == [
        ["completed", "better"],
        ["queued", ""],
    ]
    fake.on("POST", "/v1/evaluations/evalrun_1/cancel", evaluation("canceled"))
    assert run("evaluations", "cancel", "evalrun_1").out == "evalrun_1  canceled\n"


def test_an_evaluation_that_failed_is_an_error_with_its_reason(
    run: Run, fake: FakePlatform
) -> None:
    failed = evaluation("failed", error={"code": "x", "message": "The examples were deleted."})
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/evaluation", failed)
    done = run("jobs", "compare", "ftjob-1")
    assert (done.code, "The examples were deleted." in done.err) == (1, True)


def test_a_grader_that_cannot_be_read_is_one_sentence(
    run: Run, fake: FakePlatform, tmp_path: Path
) -> None:
    bad = tmp_path / "grader.json"
    bad.write_text("{")
    done = run("evaluations", "create", "ft:x", "--grader", str(bad))
    assert (done.code, "is not JSON" in done.err, fake.asked) == (1, True, [])
