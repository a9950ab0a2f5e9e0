"""The end of the demo on a terminal: the comparison, the seconds, and how to call the model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith.platform.demo.evaluation import Ticket
from tunesmith.platform.demo.report import Report

_STAGES: Mapping[str, str] = {
    "start_platform": "start the platform",
    "upload": "upload the tickets",
    "validate": "validate the file",
    "queue_wait": "wait in the queue",
    "train": "train the adapter",
    "publish": "prove, publish and load it",
    "first_token": "first tuned token",
    "evaluation": "evaluate base and tuned",
}


def show_report(out: Console, report: Report) -> None:
    """Print the comparison and the seconds of each stage."""
    compared = Table(
        title=f"Base against tuned, {report.held_out} held-out tickets, exact match",
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
