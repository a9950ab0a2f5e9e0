"""`tunesmith up`: the whole platform on this machine."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor.errors import PartFailed
from tunesmith.platform.supervisor.launch import rotate, tail
from tunesmith.platform.supervisor.local_platform import LocalPlatform
from tunesmith.platform.supervisor.part import PartState, PartStatus
from tunesmith.platform.supervisor.supervisor import OnChange

from .errors import CommandFailed
from .output import console, error_console
from .settings import read_settings
from .starting import shown_start


def up(
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of database, files, models and logs.", show_default="~/.tunesmith"
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.", show_default="8000")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base model: a directory or a Hugging Face id.", show_default="pocket"
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A Ray cluster to train on.", show_default="one started here")
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="URLs of vLLM engines, comma-separated.", show_default="one started here"
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="PostgreSQL or SQLite.", show_default="SQLite in the home")
    ] = None,
    storage_url: Annotated[
        str | None,
        typer.Option(help="A folder, s3:// or gs:// URL.", show_default="a folder in the home"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings; else TUNESMITH_CONFIG.")
    ] = None,
) -> None:
    """Start the platform, and keep it running until Ctrl-C.

    Every setting can also be a TUNESMITH_* variable or stand in the TOML file: docs/settings.md.
    """
    settings = read_settings(
        config,
        home=home,
        host=host,
        port=port,
        base=base,
        device=device,
        ray_address=ray_address,
        engines=engines,
        database_url=database_url,
        storage_url=storage_url,
    )
    platform = LocalPlatform(settings)
    with platform.prepared(), supervisor_log(settings):
        show_admin_key(platform)
        asyncio.run(_serve(platform))
    console().print("Stopped.")


async def _serve(platform: LocalPlatform) -> None:
    began = time.monotonic()

    async def body() -> None:
        with shown_start(platform):
            await platform.wait_until_ready()
        console().print(f"\nready in {time.monotonic() - began:.0f} s", style="bold green")
        _show_next_steps(platform)
        platform.on_change = trouble_teller(platform)
        await asyncio.Event().wait()

    with readable_failure():
        await platform.run(body)


def trouble_teller(platform: LocalPlatform) -> OnChange:
    """What tells, on the terminal, of parts that die and come back."""

    def tell(name: str, status: PartStatus) -> None:
        if status.state == PartState.RESTARTING:
            log = platform.supervisor.log_file(name)
            error_console().print(f"{name}: {status.note}; its log: {log}", style="yellow")
        elif status.state == PartState.READY and status.starts > 1:
            error_console().print(f"{name}: ready again", style="green")

    return tell


def _show_next_steps(platform: LocalPlatform) -> None:
    home = platform.settings.home
    out = console()
    out.print(f"API        {platform.url}/v1")
    out.print(f"base       {platform.base_name}")
    out.print(f"metrics    {platform.url}/metrics  {platform.dispatcher_metrics_url}")
    out.print(f"home       {home}  (logs: {home / 'logs'})")
    where = "" if home == Path("~/.tunesmith").expanduser() else f" --home {home}"
    out.print("\nIn another terminal:")
    out.print(f"  tunesmith tenants create NAME{where}     # prints an API key")
    out.print("  export TUNESMITH_API_KEY=...")
    out.print(f"  tunesmith jobs create EXAMPLES.csv --watch{where}")
    out.print("\nCtrl-C stops everything; the next start carries on.", style="dim")


def show_admin_key(platform: LocalPlatform) -> None:
    """Print the administrator's key if it is new."""
    if platform.new_admin_key is None:
        return
    given = platform.settings.admin_key
    if given is not None and given.get_secret_value() == platform.new_admin_key:
        return  # whoever gave it knows it
    console().print(f"Administrator's key, shown only now: {platform.new_admin_key}")


@contextmanager
def supervisor_log(settings: Settings) -> Iterator[None]:
    """Send this process's own log to a file: the terminal is for people.

    Raises:
        CommandFailed: the file cannot be written.
    """
    path = settings.home / "logs" / "supervisor.log"
    try:
        rotate(path)
        file = path.open("a")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error
    with file:
        configure_logs(settings, process="supervisor", stream=file)
        try:
            yield
        finally:
            logging.getLogger().handlers.clear()


@contextmanager
def readable_failure() -> Iterator[None]:
    """Turn a part's failure into the end of its log and its reason.

    Raises:
        CommandFailed: the reason.
    """
    try:
        yield
    except PartFailed as failure:
        lines = tail(failure.log, 15)
        if lines and lines != [failure.message]:
            error_console().print(f"\nThe end of {failure.log}:", style="dim")
            error_console().print("\n".join(lines), style="dim", markup=False)
        raise CommandFailed(failure.message) from failure
