"""`tunesmith demo`: from a CSV of examples to a measured, tuned model, in one command."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console

from tunesmith.platform.demo.journey import DemoFailed, Stages, travel
from tunesmith.platform.demo.report import Report
from tunesmith.platform.demo.ticket import read_tickets
from tunesmith.platform.demo.tickets import held_out_path
from tunesmith.platform.domain.keys import new_key
from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor.errors import CannotStart
from tunesmith.platform.supervisor.home import Home
from tunesmith.platform.supervisor.launch import tail
from tunesmith.platform.supervisor.local_platform import LocalPlatform
from tunesmith.platform.supervisor.ports import check_port, free_port

from .connection import Admin, Tenant
from .demo_report import how_to_call, how_to_start, show_report
from .errors import CommandFailed, one_sentence
from .output import console, error_console
from .settings import read_settings
from .starting import shown_start
from .up import readable_failure, supervisor_log, trouble_teller
from .watching import progress_line

DEFAULT_HOME = Path("~/.tunesmith/demo")
_TENANT = "demo"
_GIVE_UP_AFTER_DEATHS = 3
_T = TypeVar("_T")


def demo(
    report: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file, as JSON.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="The demo's own home.", show_default="~/.tunesmith/demo")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the platform running until Ctrl-C.")
    ] = False,
) -> None:
    """Start a platform, tune its base on support tickets, and compare before and after."""
    if report is not None and not report.absolute().parent.is_dir():
        raise CommandFailed(f"The folder of {report} does not exist.")
    platform = LocalPlatform(_settings(home or DEFAULT_HOME))
    with platform.prepared(), supervisor_log(platform.settings):
        interrupted = asyncio.run(_demo(platform, report, keep=keep))
    if interrupted and not keep:
        raise KeyboardInterrupt


def _settings(home: Path) -> Settings:
    """The settings of the environment with the demo's home, a free port and an own admin key."""
    settings = read_settings(home=home, admin_key=None)
    key = Home(settings.home).admin_key or new_key()
    port = settings.port
    try:
        check_port(settings.host, port)
    except CannotStart:
        port = free_port()
    return settings.model_copy(
        update={"port": port, "admin_key": settings.admin_key or SecretStr(key)}
    )


async def _demo(platform: LocalPlatform, report: Path | None, *, keep: bool) -> bool:
    out = console()
    stages = Stages()

    async def body() -> None:
        out.print(f"Starting the platform; home: {platform.settings.home}", style="bold")
        with stages.timed("start_platform"), shown_start(platform):
            await platform.wait_until_ready(give_up_after_deaths=_GIVE_UP_AFTER_DEATHS)
        out.print(f"The platform is ready at {platform.url}.", style="green")
        platform.on_change = trouble_teller(platform)
        try:
            found, key = await _in_thread(lambda: _travel(platform, stages))
        except (CommandFailed, DemoFailed):
            _show_logs(platform)
            raise
        _finish(out, platform, found, key, report)
        if keep:
            out.print("\nThe platform keeps running; Ctrl-C stops it.", style="bold")
            await asyncio.Event().wait()
        out.print("\nStopping the platform. This brings it back, with the same model and key:")
        out.print(f"  {how_to_start(platform.settings.home, platform.settings.port)}", style="bold")

    try:
        with readable_failure():
            return await platform.run(body)
    except DemoFailed as failure:
        raise CommandFailed(str(failure)) from failure


def _travel(platform: LocalPlatform, stages: Stages) -> tuple[Report, str]:
    admin_key = platform.settings.admin_key
    key = _fresh_key(Admin(platform.url, admin_key.get_secret_value() if admin_key else None, None))
    with one_sentence(platform.url), progress_line() as shown:
        client = Tenant(platform.url, key, None).client()
        return travel(client, shown, stages), key


def _fresh_key(admin: Admin) -> str:
    """A new key of the demo's tenant, who is made at the first time."""
    for tenant in admin.call("GET", "/tenants")["data"]:
        if tenant["name"] == _TENANT:
            name = time.strftime("demo of %Y-%m-%d %H:%M:%S")
            return str(admin.call("POST", f"/tenants/{tenant['id']}/keys", {"name": name})["key"])
    return str(admin.call("POST", "/tenants", {"name": _TENANT})["key"])


def _finish(
    out: Console, platform: LocalPlatform, found: Report, key: str, report: Path | None
) -> None:
    out.print()
    show_report(out, found)
    out.print("How to call it", style="bold")
    ticket = read_tickets(held_out_path())[0]
    out.print(how_to_call(platform.url, key, found.tuned_model, ticket), markup=False)
    if report is not None:
        try:
            report.write_text(json.dumps(found.as_json(), indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise CommandFailed(f"{report} cannot be written: {error.strerror}.") from error
        out.print(f"\nThe figures are in {report}.")


def _show_logs(platform: LocalPlatform) -> None:
    err = error_console()
    for name in platform.supervisor.parts:
        file = platform.supervisor.log_file(name)
        err.print(f"\nThe end of {file}:", style="dim")
        err.print("\n".join(tail(file, 8)), style="dim", markup=False)


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run `work` in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def finish(result: _T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, error = work(), None
        except Exception as caught:  # noqa: BLE001 - it is raised where the result is awaited
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name="demo", daemon=True).start()
    return await done
