"""The page of an evaluation: whole, escaped, and right about what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.workers.evaluator.html_report import render_html
from tunesmith.workers.evaluator.statistics.verdict import Constant, decide

EVIL = "<script>alert(1)</script>&\"'$x$"
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.comments: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.text += data


def evaluation(result: dict[str, Any] | None, text: str = "x", **changes: Any) -> dict[str, Any]:
    return {
        "id": "evalrun_1",
        "name": text,
        "status": "completed",
        "model": f"ft:pocket:{text}",
        "baseline": f"pocket{text}",
        "job": "ftjob-1",
        "data_source": {"type": "file", "file_id": "file-1", "examples": 40, "left_out": 2},
        "created_at": 1764050000,
        "finished_at": 1764050400,
        "result": result,
        "error": None,
    } | changes


def result(count: int = 40, text: str = "x", **changes: Any) -> dict[str, Any]:
    constant = Constant(text, [0.0, 1.0] * (count // 2))
    decided = decide([0.0] * count, [1.0] * count, binary=True, constant=constant).as_json()
    return (
        decided
        | {
            "metric": {
                "name": text, "kind": "label", "unit": "share", "higher_is_better": True,
            },
            "metrics": [
                {"name": text, "baseline": 0.1, "candidate": 0.2, "higher_is_better": False}
            ],
            "confusion": {
                "labels": [text, "b"],
                "baseline": [[0, 1, 2], [1, 1, 1]],
                "candidate": [[3, 0, 0], [0, 3, 0]],
            },
            "perplexity": {"baseline": 9.0, "candidate": 1.1},
            "forgetting": {
                "probes": 4, "baseline": 0.5, "candidate": 0.25, "drop": 0.25, "limit": 0.1,
                "within_limit": False,
                "by_kind": {text: {"n": 2, "baseline": 0.5, "candidate": 0.0}},
                "logprob_shift": {"value": -0.2, "low": -0.3, "high": -0.1},
                "lost": [{"prompt": text, "baseline_answer": text, "candidate_answer": text}],
                "summary": text,
            },
            "selection": text,
            "reasons": [text],
        }
        | changes
    )  # fmt: skip


def item(before: float | None, after: float | None, text: str = "x") -> dict[str, Any]:
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


@pytest.fixture(scope="module")
def known_tags() -> set[str]:
    """Those of a page in which data is plain."""
    items = [item(0.0, 1.0), item(1.0, 0.0), item(0.2, 0.4), item(None, 1.0, "")]
    lack = {"code": "a", "message": "b"}
    return Page(render_html(evaluation(result(), error=lack), items, STEPS)).tags


@settings(max_examples=8, deadline=None)
@given(text=st.one_of(st.just(EVIL), st.just("--><svg onload=x>]]>"), st.text(max_size=60)))
def test_nothing_that_came_from_data_is_markup(text: str, known_tags: set[str]) -> None:
    items = [item(0.0, 1.0, text), item(1.0, 0.0, text), item(0.4, 0.2, text)]
    lack = {"code": text, "message": text}
    page = render_html(evaluation(result(text=text), text, error=lack), items, STEPS)
    seen = Page(page)
    assert seen.tags <= known_tags
    assert "script" not in seen.tags
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert not any(text in comment for comment in seen.comments if len(text) > 3)
    words = re.findall(r"\w{3,}", text)
    assert all(word in seen.text for word in words)
    assert page.count("<svg") == 6


def test_the_page_loads_nothing_and_may_not() -> None:
    page = render_html(evaluation(result()), [item(0.0, 1.0)], STEPS)
    seen = Page(page)
    assert not seen.tags & {"link", "img", "image", "iframe", "script", "object", "embed", "base"}
    links = {value for name, value in seen.attributes if name in {"src", "href", "xlink:href"}}
    assert all(link and link.startswith("#") for link in links), links
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_examples_are_shown_where_they_belong() -> None:
    items = [
        item(0.0, 1.0, "won"), item(1.0, 0.0, "lost"), item(None, 1.0, "ungraded"),
        item(0.0, 0.0, "hopeless"), item(1.0, 1.0, "fine"),
    ]  # fmt: skip
    text = Page(render_html(evaluation(result()), items, [])).text
    assert "Of 4 examples 1 got better, 1 got worse, and 2 stayed as they were." in text
    assert "1 could not be scored" in text
    better, rest = text.split("Got better: 1 of 4")[1].split("Got worse: 1 of 4")
    worse, costliest = rest.split("The costliest errors")
    assert "won" in better
    assert "lost" not in better
    assert "lost" in worse
    assert costliest.index("lost") < costliest.index("hopeless")
    assert "ungraded" not in text
    assert "fine" not in text.split("Got better")[1]


def test_only_the_largest_changes_are_listed() -> None:
    items = [item(0.0, n / 40, f"example {n};") for n in range(1, 31)]
    page = render_html(evaluation(result()), items, [])
    better = Page(page).text.split("Got better: 30 of 30")[1].split("Got worse")[0]
    assert "The 10 largest changes." in better
    shown = list(dict.fromkeys(re.findall(r"example (\d+);", better)))
    assert shown == [str(n) for n in range(30, 20, -1)]


def test_figures_are_in_plain_words() -> None:
    before, after = [1.0] * 20 + [0.0] * 20, [0.0] * 32 + [1.0] * 8
    decided = decide(before, after, binary=True).as_json()
    text = Page(render_html(evaluation(result() | decided), [], [])).text
    assert text.count("Worse.") == 1
    assert "the tuned model has 30.0 fewer than the baseline, which is 60.0% less" in text
    assert "with 95 % confidence" in text
    assert "That is not met." in text
    assert "fell by 25.0 points; a fall of up to 10.0 points is allowed, and this is beyond" in text


def test_what_is_missing_is_said() -> None:
    bare = result(3, confusion=None, perplexity=None, forgetting=None, metrics=None)
    lack = {"code": "judge_failed", "message": "The judge did not answer."}
    page = render_html(evaluation(bare, status="incomplete", error=lack), [], [])
    text = Page(page).text
    assert "Too few examples." in text
    assert "at least 10 are needed" in text
    assert "too few examples with a score for both models" in text
    assert "Incomplete. The judge did not answer." in text
    assert "Not measured." in text
    assert "<svg" not in page


@pytest.mark.parametrize("nothing", [None, {}, {"verdict": None, "summary": None}])
def test_an_evaluation_without_a_result_has_a_page_that_says_so(
    nothing: dict[str, Any] | None,
) -> None:
    lack = {"code": "file_deleted", "message": "The examples were deleted."}
    shown = evaluation(nothing, status="failed", error=lack, data_source=None, finished_at=None)
    text = Page(render_html(shown, [], [])).text
    assert "No verdict. Nothing could be compared." in text
    assert "Failed. The examples were deleted." in text
    assert "There are no figures" in text


@pytest.mark.parametrize("part", sorted(result()))
def test_any_part_of_a_result_may_be_missing(part: str) -> None:
    few = (
        result() if part in {"confusion", "forgetting"} else result(confusion=None, forgetting=None)
    )
    render_html(evaluation(few | {part: None}), [item(0.0, 1.0)], [])


def test_half_characters_and_scripts_without_a_font_are_no_obstacle() -> None:
    for text in ("\ud83d", "退货", "\x00\x1b\n\n", "$\\frac{$"):
        page = render_html(evaluation(result(text=text), text), [item(0.0, 1.0, text)], STEPS)
        assert page.encode()
        assert page.count("<svg") == 5
