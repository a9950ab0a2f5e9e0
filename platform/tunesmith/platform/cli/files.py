"""`tunesmith files`: examples to train on, and results."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tunesmith.platform.examples import parse_column_options, renamed_columns

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .output import (
    console,
    error_console,
    moment,
    plain,
    print_fields,
    print_json,
    print_table,
    size,
)

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import FilePurpose

app = typer.Typer(help="Examples to train on, and results.", no_args_is_help=True)

FileId = Annotated[str, typer.Argument(help="The file's id, file-...", metavar="FILE_ID")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Rename a CSV column: THEIRS=OURS, for example ticket=prompt. Can be repeated.",
        metavar="THEIRS=OURS",
    ),
]


def upload_file(
    client: OpenAI, path: Path, columns: list[str] | None = None, purpose: str = "fine-tune"
) -> Any:
    """Upload `path`, its CSV columns renamed.

    Raises:
        CommandFailed: the file cannot be read.
        InvalidRequest: a column is not there, or the option is not of its form.
    """
    renaming = parse_column_options(columns or [])
    try:
        with renamed_columns(path, renaming) as source, source.open("rb") as content:
            return client.files.create(
                file=(path.name, content), purpose=cast("FilePurpose", purpose)
            )
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror or error}.") from error


def _row(file: dict[str, Any]) -> tuple[object, ...]:
    return (
        file["id"],
        file["filename"],
        file["purpose"],
        size(file["bytes"]),
        file.get("status"),
        moment(file["created_at"]),
    )


@app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="JSONL, CSV, Parquet or .xlsx.", metavar="FILE")],
    column: Columns = None,
    purpose: Annotated[str, typer.Option(help="What it is for.")] = "fine-tune",
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Upload examples; they are checked at once."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        file = plain(upload_file(tenant.client(), path, column, purpose))
    if as_json:
        print_json(file)
        return
    console().print(f"{file['id']}  {file['filename']}  {size(file['bytes'])}")


@app.command("list")
def list_files(
    purpose: Annotated[str | None, typer.Option(help="Only files for this.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your files, newest first."""
    from openai import omit

    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        listed = [plain(file) for file in tenant.client().files.list(purpose=purpose or omit)]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "purpose", "size", "status", "created"),
        map(_row, listed),
        empty="No files yet: `tunesmith files upload FILE` uploads one.",
    )


@app.command("get")
def get_file(
    file_id: FileId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show a file's description."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        file = plain(tenant.client().files.retrieve(file_id))
    if as_json:
        print_json(file)
        return
    print_fields(
        {**file, "bytes": size(file["bytes"]), "created_at": moment(file["created_at"])}
        | {"expires_at": moment(file.get("expires_at"))}
    )


@app.command()
def content(
    file_id: FileId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Print or save a file's content."""
    tenant = Tenant(url, api_key, home)
    with (
        one_sentence(tenant.url),
        tenant.client().files.with_streaming_response.content(file_id) as answer,
    ):
        if output is None:
            for chunk in answer.iter_bytes():
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        try:
            answer.stream_to_file(output)
        except OSError as error:
            raise CommandFailed(f"{output} cannot be written: {error.strerror}.") from error
    error_console().print(f"Written to {output}.")


@app.command("delete")
def delete_file(
    file_id: FileId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Delete a file."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        answer = plain(tenant.client().files.delete(file_id))
    if as_json:
        print_json(answer)
        return
    console().print(f"{file_id} is deleted.")
