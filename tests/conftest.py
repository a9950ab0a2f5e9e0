"""A real PostgreSQL for the tests, started once per run from the machine's own binaries."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found and shutil.which("pg_ctl"):
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None


class _EndToEndInARow(LoadScopeScheduling):  # type: ignore[misc]
    """Each file's tests on one worker of pytest-xdist, and all end-to-end tests on another.

    They start platforms that take all cores: two at once would only wait for each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "end_to_end" if path.startswith("tests/end_to_end/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How tests are spread, where they run on several workers at all."""
    return _EndToEndInARow(config, log)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty database of a running server; `postgres_database` makes more."""
    binaries = _binaries()
    if binaries is None:
        missing = (
            "PostgreSQL's binaries (initdb, pg_ctl) are missing: install the package `postgresql`,"
            " or put its bin folder on the PATH."
        )
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    home = Path(tempfile.mkdtemp(prefix="tunesmith-pg-"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def run(*command: str) -> None:
        # The server inherits what pg_ctl writes to: a pipe would never end, a file does.
        with (home.parent / f"{home.name}.log").open("a+") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, cwd=home, check=False, **as_user
            )
            if done.returncode:
                output.seek(0)
                pytest.fail(f"{command[0]} failed:\n{output.read()}")

    data = home / "data"
    try:
        run(
            *(str(binaries / "initdb"), "-D", str(data), "-U", "tunesmith", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        )
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off"
            " -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
        )
        run(str(binaries / "pg_ctl"), "-D", str(data), "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg://tunesmith@/postgres?host={home}"
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        (home.parent / f"{home.name}.log").unlink(missing_ok=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    name = f"test_{uuid4().hex}"
    identifier = sql.Identifier(name)
    server = postgres_url.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield postgres_url.replace("/postgres?", f"/{name}?")
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
