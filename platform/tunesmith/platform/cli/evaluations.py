"""`tunesmith evaluations`, and `tunesmith jobs compare`: did it get better?"""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .evaluation_report import item_rows, show_evaluation
from .files import upload_file
from .output import console, moment, print_json, print_table

app = typer.Typer(help="Two models compared on the same examples.", no_args_is_help=True)

EvaluationId = Annotated[
    str, typer.Argument(help="The evaluation's id, evalrun_...", metavar="EVALUATION_ID")
]
Html = Annotated[Path | None, typer.Option("--html", help="Also write the report to this file.")]

ENDED = ("completed", "incomplete", "failed", "canceled")
_POLL_SECONDS = 1.0


def wait_for_evaluation(tenant: Tenant, path: str) -> dict[str, Any]:
    """The evaluation at `path`, once it has ended."""
    while True:
        evaluation = tenant.call("GET", path)
        if evaluation["status"] in ENDED:
            return evaluation
        time.sleep(_POLL_SECONDS)


def _show(
    tenant: Tenant, evaluation: dict[str, Any], *, html: Path | None, as_json: bool, examples: int
) -> None:
    if html is not None:
        _write_html(tenant, evaluation, html)
    if as_json:
        print_json(evaluation)
        return
    out = console()
    show_evaluation(out, evaluation)
    if examples and evaluation["status"] in ("completed", "incomplete"):
        items = tenant.call("GET", f"/evaluations/{evaluation['id']}/output_items?limit=10000")[
            "data"
        ]
        columns = ("input", "expected", "baseline", "tuned")
        for title, better in (("Got better", True), ("Got worse", False)):
            rows = item_rows(items, better=better)
            out.print(f"\n{title}: {len(rows)} of {len(items)}", style="bold")
            if rows:
                print_table(
                    columns,
                    ([_short(cell) for cell in row] for row in rows[:examples]),
                    empty="none",
                )
    if html is not None:
        out.print(f"The report is in {html}.")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def _write_html(tenant: Tenant, evaluation: dict[str, Any], html: Path) -> None:
    page = httpx.get(
        f"{tenant.url}/v1/evaluations/{evaluation['id']}/report",
        headers={"Authorization": f"Bearer {tenant.key}"},
        timeout=60.0,
    )
    page.raise_for_status()
    try:
        html.write_bytes(page.content)
    except OSError as error:
        raise CommandFailed(f"{html} cannot be written: {error.strerror}.") from error


@app.command("create")
def create_evaluation(
    model: Annotated[str, typer.Argument(help="The model that is to be better.")],
    file: Annotated[
        str | None,
        typer.Option(help="Examples to measure on: a file's id, or a local file."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The model to compare with; else its base.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for it.")] = None,
    grader: Annotated[
        Path | None, typer.Option(help="JSON file with a grader in OpenAI's form.")
    ] = None,
    bar: Annotated[
        float | None, typer.Option(help="Least relative improvement: 0.2 for 20 %.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the verdict.")] = True,
    html: Html = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Compare two models on a file of examples."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        asked: dict[str, Any] = {
            "model": model,
            "baseline": baseline,
            "name": name,
            "minimum_relative_improvement": bar,
            "file": None if file is None else _file_id(tenant, file),
            "testing_criteria": None if grader is None else [_read_grader(grader)],
        }
        body = {key: value for key, value in asked.items() if value is not None}
        made = tenant.call("POST", "/evaluations", body)
        if not wait:
            print_json(made) if as_json else console().print(f"{made['id']}  {made['status']}")
            return
        ended = wait_for_evaluation(tenant, f"/evaluations/{made['id']}")
        _show(tenant, ended, html=html, as_json=as_json, examples=0)
    _check(ended)


def _file_id(tenant: Tenant, name: str) -> str:
    path = Path(name)
    if name.startswith("file-") and not path.exists():
        return name
    return str(upload_file(tenant.client(), path).id)


def _read_grader(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandFailed(f"{path} is not JSON: {error}.") from error


def _check(evaluation: dict[str, Any]) -> None:
    if evaluation["status"] in ("failed", "canceled"):
        why = (evaluation.get("error") or {}).get("message", "")
        raise CommandFailed(f"The evaluation {evaluation['id']} {evaluation['status']}. {why}")


@app.command("list")
def list_evaluations(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your evaluations, newest first."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        query = urlencode({"limit": limit} | ({"model": model} if model else {}))
        listed = tenant.call("GET", f"/evaluations?{query}")["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "status", "verdict", "model", "baseline", "created"),
        (
            (
                e["id"],
                e["status"],
                (e["result"] or {}).get("verdict"),
                e["model"],
                e["baseline"],
                moment(e["created_at"]),
            )
            for e in listed
        ),
        empty="No evaluations yet: every job that succeeds gets one.",
    )


@app.command("get")
def get_evaluation(
    evaluation_id: EvaluationId,
    examples: Annotated[
        int, typer.Option(help="How many examples that got better or worse to show.", min=0)
    ] = 5,
    html: Html = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show an evaluation."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        found = tenant.call("GET", f"/evaluations/{evaluation_id}")
        _show(tenant, found, html=html, as_json=as_json, examples=examples)


@app.command("cancel")
def cancel_evaluation(
    evaluation_id: EvaluationId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Cancel an evaluation."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        ended = tenant.call("POST", f"/evaluations/{evaluation_id}/cancel")
    print_json(ended) if as_json else console().print(f"{ended['id']}  {ended['status']}")


def compare(
    job_id: Annotated[str, typer.Argument(help="The job's id, ftjob-...", metavar="JOB_ID")],
    examples: Annotated[
        int, typer.Option(help="How many examples that got better or worse to show.", min=0)
    ] = 5,
    html: Html = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Compare a job's model with what it was tuned from; waits for the verdict."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        ended = wait_for_evaluation(tenant, f"/fine_tuning/jobs/{job_id}/evaluation")
        _show(tenant, ended, html=html, as_json=as_json, examples=examples)
    _check(ended)
