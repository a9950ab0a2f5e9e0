"""Both models' answers to the same examples, scored, and the verdict on the scores."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.platform.data_report.labels import is_categorical
from tunesmith.platform.graders import ScoreModel, check_grader
from tunesmith.workers.evaluator.answering import Answer, Item, answer_all, answer_room
from tunesmith.workers.evaluator.engine_client import EngineClient
from tunesmith.workers.evaluator.grading.choice import NamedCheck, fitting_metric
from tunesmith.workers.evaluator.grading.judge import (
    Judge,
    JudgeFailed,
    compare_pair,
    score_alone,
)
from tunesmith.workers.evaluator.grading.labels import LabelAccuracy, confusion
from tunesmith.workers.evaluator.grading.metric import Figure, Metric
from tunesmith.workers.evaluator.scoring import Likelihood, likelihoods, perplexity
from tunesmith.workers.evaluator.statistics.verdict import Constant, decide

Sides = tuple[str, str]
"""What engines call the baseline and the candidate."""

LIKELIHOODS = 100
"""Examples whose right answers' likelihood is asked for: it is a figure beside the one that
decides, and as many tell it well enough."""

_JUDGED_AT_ONCE = 8


@dataclass(frozen=True)
class Scored:
    """A result as the API shows it, each example's answers, and what is missing of them."""

    result: dict[str, Any]
    items: list[dict[str, Any]]
    lack: dict[str, str] | None = None


async def score_chats(
    client: EngineClient,
    sides: Sides,
    items: Sequence[Item],
    *,
    bar: float,
    grader: dict[str, Any] | None,
    judge: Judge | None,
    on_answer: Callable[[], None],
) -> Scored:
    """Have both models answer, and score what they say.

    Raises:
        EngineUnreachable: no engine answers.
    """
    room = await answer_room(client, items) if items else 1
    answers = [
        await answer_all(client, side, items, max_tokens=room, on_answer=on_answer)
        for side in sides
    ]
    likely = await likelihoods(client, sides, spread(items, LIKELIHOODS), on_answer=on_answer)
    named = None if grader is None else check_grader(grader, "grader")
    if isinstance(named, ScoreModel):
        metric = _metric(named.name, "judge")
        scores, failures = await _judged(judge, named, items, answers)
        binary, passes, constant, figures = False, 0.5, None, []
        if not named.compares:
            low, high = named.range
            passes = (named.pass_threshold - low) / (high - low)
        confused = None
    else:
        expected = [item.expected for item in items]
        chosen = fitting_metric(expected) if named is None else NamedCheck(named)
        metric = _metric(chosen.name, chosen.kind)
        scores, failures = [_scored(chosen, items, side) for side in answers], []
        binary, passes = chosen.binary, chosen.passes
        constant, confused = _label_extras(chosen, items, answers)
        figures = _figures(chosen, items, answers)
    decided = _decided(scores, binary=binary, bar=bar, constant=constant)
    lack = None
    if failures:
        lack = {
            "code": "judge_failed",
            "message": f"{len(failures)} of {len(items)} examples could not be judged, and none of"
            f" them counts. {failures[0]}",
        }
        if len(failures) * 2 > len(items):
            decided |= {
                "verdict": None,
                "summary": "No verdict: most examples could not be judged.",
                "reasons": [],
                "bar": decided["bar"] | {"met": False, "certain": False},
            }
    result = decided | {
        "metric": metric,
        "metrics": figures,
        "confusion": confused,
        "perplexity": _perplexities(likely),
        "result_counts": _counts(scores[1], answers[1], passes),
    }
    return Scored(result, _items(items, answers, scores), lack)


async def score_preferences(
    client: EngineClient,
    sides: Sides,
    items: Sequence[Item],
    *,
    bar: float,
    on_answer: Callable[[], None],
) -> Scored:
    """Whether each model finds the preferred answer more likely than the rejected one, by token.

    Raises:
        EngineUnreachable: no engine answers.
    """
    preferred = await likelihoods(client, sides, items, on_answer=on_answer)
    rejected = await likelihoods(client, sides, items, rejected=True, on_answer=on_answer)
    scores = [
        [
            None if one is None or other is None else float(one.per_token > other.per_token)
            for one, other in zip(good, bad, strict=True)
        ]
        for good, bad in zip(preferred, rejected, strict=True)
    ]
    result = _decided(scores, binary=True, bar=bar) | {
        "metric": _metric("preferred answer more likely", "preference"),
        "metrics": [],
        "confusion": None,
        "perplexity": _perplexities(preferred),
        "result_counts": _counts(scores[1], None, 1.0),
    }
    shown = [
        {
            "line": item.line,
            "input": item.question,
            "reference": item.expected,
            "baseline_answer": None,
            "candidate_answer": None,
            "baseline_score": before,
            "candidate_score": after,
        }
        for item, before, after in zip(items, *scores, strict=True)
    ]
    return Scored(result, shown)


def spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most `most` of `items`, from the first to the last at equal distances."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]


def _metric(name: str, kind: str) -> dict[str, Any]:
    """A metric as the API shows it: all of ours are shares, and more is better."""
    return {"name": name, "kind": kind, "unit": "share", "higher_is_better": True}


def _decided(
    scores: Sequence[Sequence[float | None]],
    *,
    binary: bool,
    bar: float,
    constant: Constant | None = None,
) -> dict[str, Any]:
    """The verdict on the examples that both models were scored on.

    Args:
        scores: of the baseline and of the candidate, in the items' order.
    """
    before: list[float] = []
    after: list[float] = []
    for one, other in zip(*scores, strict=True):
        if one is not None and other is not None:
            before.append(one)
            after.append(other)
    return decide(before, after, binary=binary, bar=bar, constant=constant).as_json()


def _scored(
    metric: Metric | NamedCheck, items: Sequence[Item], answers: Sequence[Answer]
) -> list[float | None]:
    # A question that the engine refuses is one that users get no answer to either.
    if isinstance(metric, NamedCheck):
        return [
            0.0 if a.refused else metric.score(i.expected, a.text, i.question)
            for i, a in zip(items, answers, strict=True)
        ]
    return [
        0.0 if a.refused else metric.score(i.expected, a.text)
        for i, a in zip(items, answers, strict=True)
    ]


async def _judged(
    judge: Judge | None, grader: ScoreModel, items: Sequence[Item], answers: list[list[Answer]]
) -> tuple[list[list[float | None]], list[str]]:
    """Scores of both sides, None where the judge failed, and why it did."""
    free = asyncio.Semaphore(_JUDGED_AT_ONCE)
    failures: list[str] = []

    async def one(item: Item, before: str, after: str) -> tuple[float | None, float | None]:
        async with free:
            try:
                if judge is None:
                    raise JudgeFailed("The operator names no judge any more.")
                asked = (judge, grader, item.question, item.expected)
                if grader.compares:
                    return await compare_pair(*asked, (before, after))
                return await score_alone(*asked, before), await score_alone(*asked, after)
            except JudgeFailed as error:
                failures.append(str(error))
                return None, None

    pairs = await asyncio.gather(
        *(
            one(item, before.text, after.text)
            for item, before, after in zip(items, *answers, strict=True)
        )
    )
    return [[before for before, _ in pairs], [after for _, after in pairs]], failures


def _label_extras(
    metric: Metric | NamedCheck, items: Sequence[Item], answers: list[list[Answer]]
) -> tuple[Constant | None, dict[str, Any] | None]:
    expected = [item.expected for item in items]
    if not is_categorical(expected):
        return None, None
    # Whatever the metric: categories may be wrapped in JSON, or be checked by a grader.
    answer = Counter(expected).most_common(1)[0][0]
    always = [Answer(answer)] * len(items)
    constant = Constant(answer, [score or 0.0 for score in _scored(metric, items, always)])
    if not isinstance(metric, LabelAccuracy):
        return constant, None
    texts = [[one.text for one in side] for side in answers]
    labels, before = confusion(expected, texts[0])
    _, after = confusion(expected, texts[1])
    return constant, {"labels": labels, "baseline": before, "candidate": after}


def _figures(
    metric: Metric | NamedCheck, items: Sequence[Item], answers: list[list[Answer]]
) -> list[dict[str, Any]]:
    if not items:
        return []
    expected = [item.expected for item in items]
    before, after = (metric.figures(expected, [one.text for one in side]) for side in answers)
    return [_figure(one, other) for one, other in zip(before, after, strict=True)]


def _figure(before: Figure, after: Figure) -> dict[str, Any]:
    return {
        "name": before.name,
        "baseline": before.value,
        "candidate": after.value,
        "higher_is_better": before.higher_is_better,
    }


def _perplexities(likely: Sequence[Sequence[Likelihood | None]]) -> dict[str, float] | None:
    before, after = (perplexity(side) for side in likely)
    return None if before is None or after is None else {"baseline": before, "candidate": after}


def _counts(
    scores: Sequence[float | None], answers: Sequence[Answer] | None, passes: float
) -> dict[str, int]:
    refused = [bool(answers and answers[place].refused) for place in range(len(scores))]
    errored = sum(score is None or lost for score, lost in zip(scores, refused, strict=True))
    passed = sum(
        score is not None and not lost and score >= passes
        for score, lost in zip(scores, refused, strict=True)
    )
    return {
        "total": len(scores),
        "passed": passed,
        "failed": len(scores) - passed - errored,
        "errored": errored,
    }


def _items(
    items: Sequence[Item], answers: list[list[Answer]], scores: Sequence[Sequence[float | None]]
) -> list[dict[str, Any]]:
    return [
        {
            "line": item.line,
            "input": item.question,
            "reference": item.expected,
            "baseline_answer": before.refused or before.text,
            "candidate_answer": after.refused or after.text,
            "baseline_score": one,
            "candidate_score": other,
        }
        for item, before, after, one, other in zip(items, *answers, *scores, strict=True)
    ]
