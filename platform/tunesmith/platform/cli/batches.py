"""`tunesmith batches`: many requests at once, answered into a file."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .files import upload_file
from .output import console, moment, plain, print_fields, print_json, print_table
from .watching import progress_line

app = typer.Typer(help="Many requests at once, answered into a file.", no_args_is_help=True)

BatchId = Annotated[str, typer.Argument(help="The batch's id, batch_...", metavar="BATCH_ID")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Wait for its end, and save the answers here."),
]
ErrorsTo = Annotated[
    Path | None,
    typer.Option("--errors", help="Save the requests that failed here; they are none, no file."),
]

_ENDED = ("completed", "failed", "expired", "cancelled")
_POLL_SECONDS = 1.0


@app.command("create")
def create_batch(
    file: Annotated[
        str, typer.Argument(help="JSONL of requests: a local file, or a file's id.", metavar="FILE")
    ],
    endpoint: Annotated[str, typer.Option(help="Where its requests go.")] = "/v1/chat/completions",
    watch: Watch = False,
    output: Output = None,
    errors: ErrorsTo = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Answer the requests of a file within a day."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        batch = plain(
            tenant.client().batches.create(
                input_file_id=_file_id(tenant, file),
                endpoint=cast(Any, endpoint),
                completion_window="24h",
            )
        )
        _show(tenant, batch, watch=watch, output=output, errors=errors, as_json=as_json)


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your batches, newest first."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        listed = [plain(batch) for batch in tenant.client().batches.list(limit=limit).data]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "status", "endpoint", "requests", "created"),
        (
            (b["id"], b["status"], b["endpoint"], _counts(b), moment(b["created_at"]))
            for b in listed
        ),
        empty="No batches yet: `tunesmith batches create FILE` makes one.",
    )


@app.command("show")
def show_batch(
    batch_id: BatchId,
    watch: Watch = False,
    output: Output = None,
    errors: ErrorsTo = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show a batch, and save its answers."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        batch = plain(tenant.client().batches.retrieve(batch_id))
        _show(tenant, batch, watch=watch, output=output, errors=errors, as_json=as_json)


@app.command("cancel")
def cancel_batch(
    batch_id: BatchId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """End a batch early; what is answered by then is kept."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        batch = plain(tenant.client().batches.cancel(batch_id))
    print_json(batch) if as_json else console().print(f"{batch['id']}  {batch['status']}")


def _file_id(tenant: Tenant, name: str) -> str:
    path = Path(name)
    if name.startswith("file-") and not path.exists():
        return name
    return str(upload_file(tenant.client(), path, purpose="batch").id)


def _show(
    tenant: Tenant,
    batch: dict[str, Any],
    *,
    watch: bool,
    output: Path | None,
    errors: Path | None,
    as_json: bool,
) -> None:
    wanted = watch or output is not None or errors is not None
    if wanted:
        batch = _wait(tenant, batch, shown=watch and not as_json)
        for file_id, path in ((batch["output_file_id"], output), (batch["error_file_id"], errors)):
            if file_id is not None and path is not None:
                _save(tenant, file_id, path)
    if as_json:
        print_json(batch)
    else:
        _print(batch)
    if wanted and batch["status"] != "completed":
        raise CommandFailed(f"The batch {batch['id']} {_end(batch)}")


def _wait(tenant: Tenant, batch: dict[str, Any], *, shown: bool) -> dict[str, Any]:
    if not shown:
        while batch["status"] not in _ENDED:
            time.sleep(_POLL_SECONDS)
            batch = plain(tenant.client().batches.retrieve(batch["id"]))
        return batch
    with progress_line() as line:
        while batch["status"] not in _ENDED:
            line.update(f"{batch['id']}  {batch['status']}  {_counts(batch)}")
            time.sleep(_POLL_SECONDS)
            batch = plain(tenant.client().batches.retrieve(batch["id"]))
    return batch


def _save(tenant: Tenant, file_id: str, path: Path) -> None:
    with tenant.client().files.with_streaming_response.content(file_id) as answer:
        try:
            answer.stream_to_file(path)
        except OSError as error:
            raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error


def _print(batch: dict[str, Any]) -> None:
    print_fields(
        {
            "id": batch["id"],
            "status": batch["status"],
            "endpoint": batch["endpoint"],
            "requests": _counts(batch),
            "input_file_id": batch["input_file_id"],
            "output_file_id": batch["output_file_id"],
            "error_file_id": batch["error_file_id"],
            "created_at": moment(batch["created_at"]),
            "expires_at": moment(batch["expires_at"]),
            "metadata": batch["metadata"],
        }
    )
    for error in (batch["errors"] or {}).get("data") or ():
        where = f"line {error['line']}: " if error.get("line") else ""
        console().print(f"{where}{error['message']}", style="red", markup=False)


def _counts(batch: dict[str, Any]) -> str:
    counts = batch["request_counts"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['completed']} of {counts['total']}{failed}"


def _end(batch: dict[str, Any]) -> str:
    if batch["status"] == "failed":
        listed = (batch["errors"] or {}).get("data") or []
        return f"failed: {listed[0]['message']}" if listed else "failed."
    if batch["status"] == "expired":
        return "has expired: what was answered in time is kept."
    return "was cancelled: what was answered by then is kept."
