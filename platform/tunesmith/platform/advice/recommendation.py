"""Whether to fine-tune at all, by rules that a person can check.

Tuning pays where a task repeats, there are enough good examples of it, and prompting was not
enough. It does not where the task is new each time or done once, where there is no data, or where
a stronger model with a good prompt does it. What is not known becomes a question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from .break_even import BreakEven
from .sentences import never

FEWEST, GOOD, BETTER = 50, 100, 1000
"""Examples: too few to learn from below the first, suggested from the second, better from the
third."""

SLOW_MONTHS = 24
"""A break-even later than this leans on prices and models staying as they are for years."""

Verdict = Literal["fine_tune", "collect_examples_first", "do_not_fine_tune", "undecided"]
Side = Literal["for", "against", "caution"]


@dataclass(frozen=True)
class Situation:
    """What is known of the task; None where it is not.

    Args:
        examples: good examples that there are, or that can be had.
        task_repetitive: the same kind of request comes again and again.
        prompting_sufficient: a good prompt to the model in question does it well enough.
        stronger_model_sufficient: a stronger model, prompted, does it well enough at a price that
            is acceptable.
        task_novel: requests are of kinds for which no past answer shows the right one.
        one_off: it is done once, or a few times.
    """

    examples: int | None = None
    task_repetitive: bool | None = None
    prompting_sufficient: bool | None = None
    stronger_model_sufficient: bool | None = None
    task_novel: bool | None = None
    one_off: bool | None = None


@dataclass(frozen=True)
class Reason:
    """A rule that applied: which, what it speaks for, and why."""

    rule: str
    side: Side
    text: str


@dataclass(frozen=True)
class Recommendation:
    """What to do, why, and what to find out before."""

    verdict: Verdict
    summary: str
    reasons: list[Reason]
    questions: list[str]


_QUESTIONS = {
    "examples": "How many good examples of the task are there? From 50 on tuning can work, 100 are"
    " suggested, 1,000 or more are better.",
    "task_repetitive": "Does the same kind of request come again and again?",
    "prompting_sufficient": "Does a good prompt, with a few examples in it, already do it well"
    " enough? Try that first: it costs an afternoon.",
    "stronger_model_sufficient": "Would a stronger model with a good prompt do it well enough, at"
    " a price that you accept?",
    "task_novel": "Is every request new, so that past answers do not show what the right one is?",
    "one_off": "Is it done once or a few times, or for months?",
}
_COST_QUESTION = (
    "What does it cost today? With queries a month, the price on the API, the cost of data and"
    " training and of serving here, the answer has the month in which it pays for itself."
)
_SUMMARIES: dict[Verdict, str] = {
    "fine_tune": "Fine-tune.",
    "collect_examples_first": "Collect more examples first, then fine-tune.",
    "do_not_fine_tune": "Do not fine-tune.",
    "undecided": "It depends on what is not known yet: see the questions.",
}


def recommend(situation: Situation, costs: BreakEven | None = None) -> Recommendation:
    """The recommendation; of costs only where they are known."""
    reasons = [*_by_task(situation), *_by_examples(situation)]
    if costs is not None:
        reasons += _by_costs(costs)
    verdict = _verdict(situation, reasons)
    return Recommendation(
        verdict=verdict,
        summary=_SUMMARIES[verdict],
        reasons=reasons,
        questions=_questions(situation, costs),
    )


def _verdict(situation: Situation, reasons: list[Reason]) -> Verdict:
    against = {reason.rule for reason in reasons if reason.side == "against"}
    if against - {"few_examples"}:
        return "do_not_fine_tune"
    if against:
        return "collect_examples_first"
    needed = (situation.examples, situation.task_repetitive, situation.prompting_sufficient)
    return "undecided" if None in needed else "fine_tune"


def _questions(situation: Situation, costs: BreakEven | None) -> list[str]:
    # One who knows that the task repeats need not be asked whether it is done once.
    settled = {"one_off"} if situation.task_repetitive else set()
    asked = [
        _QUESTIONS[item.name]
        for item in fields(situation)
        if getattr(situation, item.name) is None and item.name not in settled
    ]
    return asked if costs is not None else [*asked, _COST_QUESTION]


def _by_task(known: Situation) -> Iterator[Reason]:
    if known.task_repetitive:
        yield Reason("repetitive", "for", "The task repeats: what is learned once pays each time.")
    elif known.task_repetitive is False:
        yield Reason(
            "not_repetitive",
            "against",
            "The task does not repeat: there is no one behaviour for a model to learn.",
        )
    if known.task_novel:
        yield Reason(
            "novel",
            "against",
            "Requests are new each time: examples of the past do not show the right answers to"
            " them. A strong general model does this better.",
        )
    if known.one_off:
        yield Reason(
            "one_off",
            "against",
            "It is done once or a few times: preparing data and training cost more than they"
            " return.",
        )
    if known.prompting_sufficient:
        yield Reason(
            "prompting_sufficient",
            "against",
            "A prompt does it well enough: keep it, it can be changed in a minute.",
        )
    elif known.prompting_sufficient is False:
        yield Reason(
            "prompting_not_enough", "for", "Prompting was not enough: tuning is the next step."
        )
    if known.stronger_model_sufficient:
        yield Reason(
            "stronger_model_sufficient",
            "against",
            "A stronger model with a prompt does it, at a price that you accept: use that.",
        )


def _by_examples(known: Situation) -> Iterator[Reason]:
    if known.examples is None:
        return
    count = f"{known.examples:,} example{'' if known.examples == 1 else 's'}"
    if known.examples == 0:
        yield Reason("no_data", "against", "There are no examples: nothing can be learned.")
    elif known.examples < FEWEST:
        yield Reason(
            "few_examples",
            "against",
            f"{count}: too few. Collect {FEWEST} at the least, better {GOOD}.",
        )
    elif known.examples < GOOD:
        yield Reason("enough_examples", "for", f"{count}: at least {FEWEST}, so it can work.")
        yield Reason(
            "more_examples", "caution", f"Fewer than {GOOD}: more would make it more reliable."
        )
    else:
        much = "plenty" if known.examples >= BETTER else "enough"
        yield Reason("enough_examples", "for", f"{count}: {much}.")


def _by_costs(found: BreakEven) -> Iterator[Reason]:
    best, middle, worst = (found.cases[case] for case in ("best", "middle", "worst"))
    months = middle.break_even_months
    if months is None:
        when = "even in the best case" if best.break_even_months is None else "in the middle case"
        case = best if best.break_even_months is None else middle
        yield Reason(
            "never_pays",
            "against",
            f"On cost it never pays for itself {when}: {never(case)}.",
        )
        return
    if months > SLOW_MONTHS:
        yield Reason(
            "pays_late",
            "caution",
            f"It pays for itself only after {months:.1f} months: prices and models change faster.",
        )
    else:
        yield Reason("pays", "for", f"It pays for itself after {months:.1f} months.")
    if worst.break_even_months is None:
        yield Reason("may_never_pay", "caution", "In the worst case it never pays for itself.")
