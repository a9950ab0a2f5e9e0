"""Processes start before their database does: they say what they wait for, and try again.

None ends because the database is late, so a cluster need not start its parts in an order.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator

import structlog

from tunesmith.platform.domain.errors import InvalidRequest, Unavailable
from tunesmith.platform.settings import Settings

from .connection import Database, readable_errors
from .migrate import migrate
from .schema import Fit, read_schema

log = structlog.get_logger(__name__)

FIRST_SECONDS = 0.5
MOST_SECONDS = 10.0

Attempt = Callable[[], str | None]
"""Does a thing and returns None, or says what it still waits for; `Unavailable` says so too."""


def wait_for_schema(database: Database, settings: Settings, stopping: threading.Event) -> bool:
    """Return once the database has a schema that this code may use.

    With `migrate=auto` that is brought about here; with `wait` it is `tunesmith migrate`'s work.

    Returns:
        False where `stopping` was set before.

    Raises:
        InvalidRequest: `migrate=wait` with SQLite, which one machine has for itself.
        TunesmithError: with `migrate=auto`: a migration failed, or a later Tunesmith made the
            database.
    """
    if settings.migrate == "auto":
        return until_done(lambda: _migrate(database), database, stopping)
    if database.is_sqlite:
        raise InvalidRequest(
            "TUNESMITH_MIGRATE=wait is for processes that share a PostgreSQL, and"
            " TUNESMITH_DATABASE_URL names SQLite, which only one machine can use: name a"
            " PostgreSQL, or leave TUNESMITH_MIGRATE at auto.",
            param="migrate",
        )
    return until_done(lambda: _look(database), database, stopping)


def until_done(
    attempt: Attempt, database: Database, stopping: threading.Event, *, seconds: float = math.inf
) -> bool:
    """Make an attempt at something in the database until it is done, more rarely with time.

    Returns:
        False where `stopping` was set before.

    Raises:
        Unavailable: it is not done after `seconds`.
    """
    deadline = time.monotonic() + seconds
    for delay in _delays():
        if stopping.is_set():
            break
        try:
            waits_for = attempt()
        except Unavailable as error:
            waits_for = error.message
        if waits_for is None:
            return True
        if time.monotonic() + delay > deadline:
            raise Unavailable(
                f"Gave up on {database.place} after {seconds:g} s: {waits_for}",
                code="database_unavailable",
            )
        log.warning(
            "waiting for the database",
            database=database.place,
            reason=waits_for,
            next_try_seconds=round(delay, 1),
        )
        stopping.wait(delay)
    return False


def _migrate(database: Database) -> None:
    migrate(database)


def _look(database: Database) -> str | None:
    with readable_errors(), database.engine.connect() as connection:
        schema = read_schema(connection)
    if schema.usable:
        return None
    if schema.fit is Fit.TOO_NEW:
        return f"This code may not use it ({schema}): install the version that made it."
    return f"It is to be migrated, by `tunesmith migrate` ({schema})."


def _delays() -> Iterator[float]:
    """Seconds between attempts: doubled up to a bound, and by chance, so that pods spread out."""
    longest = FIRST_SECONDS
    while True:
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311
        longest = min(2 * longest, MOST_SECONDS)
