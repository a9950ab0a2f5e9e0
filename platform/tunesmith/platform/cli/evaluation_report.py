"""An evaluation on a terminal: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = {
    "better": "bold green",
    "worse": "bold red",
    "no clear difference": "bold yellow",
    "too few examples": "bold yellow",
}


def show_evaluation(out: Console, evaluation: Mapping[str, Any]) -> None:
    """Print an evaluation as the API shows it."""
    result = evaluation.get("result") or {}
    out.print(f"{evaluation['model']} against {evaluation['baseline']}", style="bold", markup=False)
    if not result:
        out.print(f"The evaluation {evaluation['id']} is {evaluation['status']}.")
    elif result.get("verdict"):
        out.print(verdict_line(result))
        for reason in result.get("reasons") or ():
            out.print(f"  {reason}", style="dim", markup=False)
    if result.get("baseline") and result.get("candidate"):
        out.print(_figures(result))
    if result.get("forgetting"):
        out.print(forgetting_line(result["forgetting"]))
    if result.get("selection"):
        out.print(result["selection"], style="dim", markup=False)
    if evaluation.get("error"):
        out.print(
            f"{evaluation['status']}: {evaluation['error']['message']}",
            style="yellow",
            markup=False,
        )


def verdict_line(result: Mapping[str, Any]) -> Text:
    """The verdict and its sentence, which may begin with it."""
    verdict = result["verdict"]
    said = (result.get("summary") or "").removeprefix(verdict).lstrip(":. ")
    text = Text(f"Verdict: {verdict}. ", style=_COLOURS.get(verdict, "bold"))
    return text.append(said[:1].upper() + said[1:], style="default")


def forgetting_line(forgetting: Mapping[str, Any]) -> Text:
    """What became of the answers to the general probes."""
    within = forgetting.get("within_limit")
    text = Text("Forgetting: ", style="bold")
    return text.append(
        forgetting.get("summary") or "not measured.", style="default" if within else "yellow"
    )


def _figures(result: Mapping[str, Any]) -> Table:
    """Both models' figures, the metric that decides in the first row."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for column in ("baseline", "tuned", "points (95 % interval)"):
        table.add_column(column, justify="right", no_wrap=True)
    metric, difference = result["metric"], result.get("difference")
    table.add_row(
        Text(metric["name"], style="bold"),
        _share(result["baseline"]["value"]),
        _share(result["candidate"]["value"]),
        "" if difference is None else _interval(difference),
    )
    for other in result.get("metrics") or ():
        table.add_row(other["name"], _number(other["baseline"]), _number(other["candidate"]), "")
    perplexity = result.get("perplexity")
    if perplexity:
        table.add_row(
            "perplexity of the right answers",
            _number(perplexity["baseline"]),
            _number(perplexity["candidate"]),
            "",
        )
    constant = result.get("constant_answer")
    if constant:
        table.add_row(f"always answering “{constant['answer']}”", "", _share(constant["value"]), "")
    return table


def _interval(difference: Mapping[str, Any]) -> str:
    text = f"{difference['value'] * 100:+.1f}"
    if difference.get("low") is not None:
        text += f" ({difference['low'] * 100:+.1f} to {difference['high'] * 100:+.1f})"
    return text


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def item_rows(items: Sequence[Mapping[str, Any]], *, better: bool) -> list[tuple[str, ...]]:
    """Those of an evaluation's items that got better, or worse: input, reference, both answers."""
    rows: list[tuple[str, ...]] = []
    for item in items:
        before, after = item.get("baseline_score"), item.get("candidate_score")
        if before is None or after is None or before == after:
            continue
        if (after > before) is better:
            rows.append(
                (
                    item["input"],
                    item["reference"],
                    item.get("baseline_answer") or "",
                    item.get("candidate_answer") or "",
                )
            )
    return rows
