"""The end of the demo on a terminal: the comparison, the seconds, and how to call the model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith.platform.demo.journey import BREAK_EVEN
from tunesmith.platform.demo.report import Report
from tunesmith.platform.demo.ticket import Ticket

from .evaluation_report import forgetting_line, verdict_line

_STAGES: Mapping[str, str] = {
    "start_platform": "start the platform",
    "upload": "upload the tickets",
    "data_report": "report on the data",
    "validate": "validate the file",
    "queue_wait": "wait in the queue",
    "train": "train the adapter",
    "publish": "prove, publish and load it",
    "first_token": "first tuned token",
    "evaluation": "evaluate base and tuned",
}


def show_report(out: Console, report: Report) -> None:
    """Print what the data, the comparison and the bill say, and the seconds of each stage."""
    _show_data(out, report.data_report)
    metric = report.evaluation["result"]["metric"]["name"]
    compared = Table(
        title=f"Base against tuned, {report.held_out} held-out tickets, {metric}",
        box=box.SIMPLE_HEAD, title_justify="left", title_style="bold",
    )  # fmt: skip
    compared.add_column("model", overflow="fold")
    compared.add_column("correct", justify="right")
    compared.add_column("accuracy", justify="right")
    for name, share, style in (
        (report.base_model, report.base_accuracy, "red"),
        (report.tuned_model, report.tuned_accuracy, "green"),
    ):
        right = f"{round(share * report.held_out)} of {report.held_out}"
        compared.add_row(name, right, Text(f"{share:.1%}", style=style))
    out.print(compared)
    result = report.evaluation["result"]
    out.print(verdict_line(result))
    if result.get("forgetting"):
        out.print(forgetting_line(result["forgetting"]))
        if not result["forgetting"]["within_limit"]:
            out.print(
                "  It answers its task and nothing else. An alias takes such a model once your"
                " policy does: `tunesmith policy --forgetting 1`.",
                style="dim",
            )
    _show_break_even(out, report.break_even)
    answers = Table(box=box.SIMPLE_HEAD)
    for column in ("ticket", "expected", "base", "tuned"):
        answers.add_column(column, overflow="fold")
    for answered in report.examples:
        answers.add_row(
            Text(_short(answered.ticket, 60)),
            Text(answered.expected),
            _judged(_short(answered.base, 24), answered.base == answered.expected),
            _judged(_short(answered.tuned, 24), answered.tuned == answered.expected),
        )
    out.print(answers)
    seconds = Table(
        title="Seconds", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold",
        show_header=False,
    )  # fmt: skip
    for stage, spent in report.seconds.items():
        seconds.add_row(_STAGES.get(stage, stage), f"{spent:.1f}")
    seconds.add_section()
    seconds.add_row(
        "from job creation to the first tuned token",
        Text(f"{report.creation_to_first_tuned_token_s:.1f}", style="bold"),
    )
    out.print(seconds)


def _show_data(out: Console, report: Mapping[str, Any] | None) -> None:
    """The data report in a few lines: what blocks or warns, and how much is only noted."""
    if report is None:
        out.print("The data report failed; `tunesmith check` makes it again.", style="yellow")
        return
    findings = report["findings"]
    counts = {
        severity: sum(finding["severity"] == severity for finding in findings)
        for severity in ("blocks", "warns", "note")
    }
    out.print(
        Text("Data report: ", style="bold").append(
            f"{report['rows']} rows, {counts['blocks']} findings block, {counts['warns']} warn,"
            f" {counts['note']} are notes.",
            style="default",
        )
    )
    for finding in findings:
        if finding["severity"] != "note":
            out.print(f"  {finding['severity']}: {finding['message']}", markup=False)


def _show_break_even(out: Console, advice: Mapping[str, Any]) -> None:
    """When tuning pays, for the demo's stated example."""
    asked = BREAK_EVEN
    low, high = asked["upfront_cost"]
    least, most = asked["monthly_cost"]
    out.print(
        Text("Break-even: ", style="bold").append(
            f"{advice['break_even']['summary'][0]} That is for"
            f" {asked['queries_per_month']:,} queries a month at ${asked['price_per_query']} each"
            f" on an API today, ${low:,} to ${high:,} for data and training, ${least} to ${most} a"
            " month for serving. For yours: `tunesmith advise`.",
            style="default",
        )
    )


def _short(text: str, length: int) -> str:
    text = " ".join(text.split()) or "(nothing)"
    return text if len(text) <= length else text[: length - 1] + "…"


def _judged(text: str, right: bool) -> Text:
    return Text(f"{'✓' if right else '✗'} {text}", style="green" if right else "red")


def how_to_call(url: str, key: str, model: str, ticket: Ticket) -> str:
    """Base URL, key, a curl line and six lines of Python."""
    question = " ".join(ticket.text.split())
    body = (
        f'{{"model": "{model}", "temperature": 0, "messages": ['
        f'{{"role": "system", "content": "{ticket.system}"}}, '
        f'{{"role": "user", "content": "{_escaped(question)}"}}]}}'
    )
    return f"""base URL   {url}/v1
key        {key}
model      {model}

curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
  -H 'Content-Type: application/json' -d {shlex.quote(body)}

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{key}")
answer = client.chat.completions.create(model="{model}", temperature=0, messages=[
    {{"role": "system", "content": "{ticket.system}"}},
    {{"role": "user", "content": "{_escaped(question)}"}}])
print(answer.choices[0].message.content)"""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def how_to_start(home: Path, port: int) -> str:
    """The command that brings the demo's platform back."""
    command = f"tunesmith up --home {shlex.quote(str(home))}"
    return command if port == 8000 else f"{command} --port {port}"
