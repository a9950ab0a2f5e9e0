"""PostgreSQL by its own tools: pg_dump's custom format, and pg_restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, Final

from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from tunesmith.platform.database import Database
from tunesmith.platform.database.connection import readable_errors

from .archive import CHUNK_BYTES
from .errors import BackupFailed

_STDERR_LINES: Final = 5


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[Session, str]]:
    """A session that sees one moment, and the name by which pg_dump sees the same one."""
    with (
        readable_errors(),
        database.engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
        connection.begin(),
    ):
        # pg_dump may run for longer than the server lets a transaction idle.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        name = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        with Session(connection) as session:
            yield session, name


def dump(url: str, name: str, write: Callable[[bytes], object]) -> None:
    """Write the database as it was at the snapshot `name`.

    Raises:
        BackupFailed: pg_dump is missing, or failed.
    """
    command = (
        *("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}"),
        # Extensions belong to the server's administrator, and so may not be ours to create.
        "--extension=plpgsql",
    )
    with _running("pg_dump", url, command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(CHUNK_BYTES):
            write(chunk)


def restore(url: str, source: BinaryIO) -> None:
    """Fill an empty database, all or nothing.

    Raises:
        BackupFailed: pg_restore is missing, or failed.
    """
    command = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
    with _running("pg_restore", url, command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            shutil.copyfileobj(source, process.stdin, CHUNK_BYTES)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why, and its exit code is not 0


def drop_everything(engine: Engine, tables: set[str]) -> None:
    """Drop `tables`, and the functions of their triggers."""
    quote = engine.dialect.identifier_preparer.quote
    with readable_errors(), engine.begin() as connection:
        for table in sorted(tables):
            connection.execute(text(f"DROP TABLE {quote(table)} CASCADE"))
        functions = connection.execute(
            text(
                "SELECT oid::regprocedure::text FROM pg_proc"
                " WHERE pronamespace = current_schema()::regnamespace"
                " AND prorettype = 'trigger'::regtype"
                " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid"
                " AND deptype = 'e')"
            )
        ).scalars()
        for function in functions.all():
            connection.execute(text(f"DROP FUNCTION {function} CASCADE"))


@contextmanager
def _running(
    program: str, url: str, arguments: tuple[str, ...], **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    path = shutil.which(program)
    if path is None:
        raise BackupFailed(
            f"{program} is missing: install PostgreSQL's client of the server's version or newer"
            " (Debian: postgresql-client)."
        )
    conninfo, secrets = _connection(url)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [path, *arguments, f"--dbname={conninfo}"],
            stderr=errors,
            env=os.environ | secrets,
            **streams,
        )
        try:
            with process:
                yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            raise BackupFailed(
                f"{program} failed (exit code {process.returncode}): {_end_of(errors)}"
            )


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """The connection string of libpq without the password, and the variable that has it.

    What is in a command can be read by everybody on the machine.
    """
    parsed = make_url(url)
    _, options = parsed.get_dialect()().create_connect_args(parsed)
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    plain = {name: value for name, value in options.items() if name in known}
    password = plain.pop("password", None)
    return make_conninfo(**plain), {"PGPASSWORD": str(password)} if password else {}


def _end_of(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return " ".join(lines[-_STDERR_LINES:]) or "it said nothing"
