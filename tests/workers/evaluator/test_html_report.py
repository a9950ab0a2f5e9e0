"""The page of an evaluation: whole, escaped, and right about what is missing."""

from __future__ import annotations

import re
from typing import Any

from tunesmith.workers.evaluator.html_report import render_html
from tunesmith.workers.evaluator.statistics.verdict import decide

EVIL = "<script>alert(1)</script>&\"'$x$"


def evaluation(result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "evalrun_1",
        "status": "completed",
        "model": f"ft:pocket:{EVIL}",
        "baseline": "pocket",
        "job": "ftjob-1",
        "data_source": {"type": "file", "file_id": "file-1", "examples": 40, "left_out": 2},
        "result": result,
        "error": None,
    } | changes


def result(count: int = 40, **changes: Any) -> dict[str, Any]:
    decided = decide([0.0] * count, [1.0] * count, binary=True).as_json()
    shares = {"n": 2, "baseline": 0.5, "candidate": 0.0}
    return (
        decided
        | {
            "metric": {"name": EVIL, "kind": "label"},
            "metrics": [
                {"name": EVIL, "baseline": 0.1, "candidate": 0.2, "higher_is_better": False}
            ],
            "confusion": {
                "labels": [EVIL, "b"],
                "baseline": [[0, 1, 2], [1, 1, 1]],
                "candidate": [[3, 0, 0], [0, 3, 0]],
            },
            "perplexity": {"baseline": 9.0, "candidate": 1.1},
            "forgetting": {
                "summary": EVIL,
                "by_kind": {"facts": shares},
                "lost": [{"prompt": EVIL, "baseline_answer": EVIL, "candidate_answer": EVIL}],
            },
            "selection": None,
        }
        | changes
    )


def item(before: float | None, after: float | None, text: str = EVIL) -> dict[str, Any]:
    return {
        "line": 1,
        "input": text,
        "reference": text,
        "baseline_answer": text,
        "candidate_answer": text,
        "baseline_score": before,
        "candidate_score": after,
    }


STEPS = [{"step": n, "train_loss": 1.0 / n, "full_valid_loss": 0.5} for n in range(1, 5)]


def test_nothing_that_came_from_data_is_markup() -> None:
    page = render_html(evaluation(result()), [item(0.0, 1.0), item(1.0, 0.0)], STEPS)
    assert "<script" not in page.lower()
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 5


def test_the_page_loads_nothing() -> None:
    page = render_html(evaluation(result()), [item(0.0, 1.0, "x")], STEPS)
    assert not re.search(r"<(?:link|img|iframe|script|object|embed)\b", page)
    links = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", page))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links), links
    assert "@import" not in page


def test_examples_are_shown_where_they_belong() -> None:
    items = [item(0.0, 1.0, "won"), item(1.0, 0.0, "lost"), item(None, 1.0, "ungraded")]
    page = render_html(evaluation(result()), items, [])
    better, rest = page.split("Got better:")[1].split("Got worse:")
    worse, costliest = rest.split("The costliest errors")
    assert "won" in better
    assert "lost" not in better
    assert "lost" in worse
    assert "lost" in costliest
    assert "ungraded" not in page


def test_what_is_missing_is_said() -> None:
    bare = result(3, confusion=None, perplexity=None, forgetting=None, metrics=[])
    lack = {"code": "judge_failed", "message": "The judge did not answer."}
    page = render_html(evaluation(bare, status="incomplete", error=lack), [], [])
    assert "too few examples" in page
    assert "The judge did not answer." in page
    assert "<svg" not in page
