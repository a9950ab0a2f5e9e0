"""The command line: `tunesmith`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tunesmith.platform.domain.errors import TunesmithError

from . import (
    advise,
    aliases,
    audit,
    backup,
    batches,
    chat,
    check,
    doctor,
    evaluations,
    files,
    jobs,
    keys,
    migrate,
    models,
    savings,
    smoke,
    tenants,
    up,
    usage,
    webhooks,
)
from . import demo as demo_command
from . import plan as plan_command
from .errors import CommandFailed
from .output import error_console

app = typer.Typer(
    name="tunesmith",
    help="Turn examples into tuned models and serve them, behind the OpenAI API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(demo_command.demo)
app.command()(check.check)
app.add_typer(files.app, name="files")
app.add_typer(jobs.app, name="jobs")
jobs.app.command("compare")(evaluations.compare)
app.add_typer(evaluations.app, name="evaluations")
app.add_typer(batches.app, name="batches")
app.add_typer(models.app, name="models")
app.add_typer(aliases.app, name="aliases")
app.command()(aliases.policy)
app.add_typer(webhooks.app, name="webhooks")
app.command()(advise.advise)
app.command()(savings.savings)
app.command()(plan_command.plan)
app.command()(usage.usage)
app.command()(chat.chat)
app.add_typer(tenants.tenants, name="tenants")
app.add_typer(keys.keys, name="keys")
app.command()(audit.audit)
app.command()(doctor.doctor)
app.command()(smoke.smoke)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(migrate.migrate)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tunesmith {version('tunesmith')}")
        raise typer.Exit


@app.callback()
def _tunesmith(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run a command; an error is one sentence, and exit code 1 where it has none of its own."""
    try:
        app()
    except (CommandFailed, TunesmithError) as error:
        error_console().print("Error:", error, style="red", markup=False)
        sys.exit(error.exit_code if isinstance(error, CommandFailed) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `tunesmith jobs list | head`
        sys.stderr.close()
        sys.exit(0)
