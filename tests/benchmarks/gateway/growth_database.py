"""A PostgreSQL of a benchmark's own, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from .processes import OTHER_CORE, core, tool

THROWN_AWAY = (
    "listen_addresses=''",
    "shared_buffers=2GB",
    "maintenance_work_mem=512MB",
    "max_wal_size=16GB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=100",
)
"""A cluster that is thrown away: nothing is synced to disk, and no autovacuum comes between."""


@contextmanager
def postgres(folder: Path, settings: Sequence[str] = THROWN_AWAY) -> Iterator[str]:
    """A server on the last core, beside the load; its SQLAlchemy URL, `{}` for the database."""
    home = folder / "postgres"
    home.mkdir()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        folder.chmod(0o755)
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = home / "data"

    def run(*command: str) -> None:
        with (folder / "postgres.log").open("ab") as log:
            subprocess.run(command, stdout=log, stderr=log, cwd=home, check=True, **as_user)

    run(
        *(tool("initdb"), "-D", str(data), "-U", "tunesmith", "-A", "trust"),
        *("-E", "UTF8", "--locale=C", "--no-sync"),
    )
    options = " ".join(f"-c {option}" for option in settings)
    options += f" -c unix_socket_directories={home}"
    control = [tool("pg_ctl"), "-D", str(data), "-w"]
    run(*core(OTHER_CORE), *control, "-t", "60", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://tunesmith@/{{}}?host={home}"
    finally:
        run(*control, "-m", "immediate", "stop")


def create_database(url: str, name: str) -> str:
    """An empty database; its URL."""
    with psycopg.connect(plain(url.format("postgres")), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return url.format(name)


def plain(url: str) -> str:
    """A SQLAlchemy URL as psycopg itself takes it."""
    return url.replace("+psycopg", "")
