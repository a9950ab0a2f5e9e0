"""`tunesmith migrate`: bring the database's schema up to date, as a release's first step."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from .output import console
from .settings import read_settings

TIMEOUT_SECONDS = 300.0


def migrate(
    database_url: Annotated[str | None, typer.Option(help="PostgreSQL or SQLite.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a database that cannot be reached.")
    ] = TIMEOUT_SECONDS,
) -> None:
    """Migrate the database, once it can be reached; safe to repeat, and beside a running release.

    Exit code 0: this release may use the schema. 1: it may not, and nothing was changed.
    """
    from tunesmith.platform import database as databases  # takes a second to load
    from tunesmith.platform.database.schema import Fit, Schema
    from tunesmith.platform.logs import configure_logs

    settings = read_settings(config, database_url=database_url)
    configure_logs(settings, process="migrate")
    database = databases.Database(settings.database_url)
    found: list[Schema] = []
    try:
        databases.until_done(
            lambda: found.append(databases.migrate(database)),
            database,
            threading.Event(),
            seconds=timeout,
        )
    finally:
        database.dispose()
    (schema,) = found
    how = "later than this release's, which may use it" if schema.fit is Fit.NEWER else "up to date"
    console().print(f"The schema of {database.place} is {schema.revision}: {how}.")
