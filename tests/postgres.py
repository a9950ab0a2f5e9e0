"""A PostgreSQL server of the tests' own, from the machine's binaries, on a socket in a folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found and shutil.which("pg_ctl"):
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None


class PostgresServer:
    """A server that can be stopped and started again; `url` is of its empty first database.

    Without PostgreSQL's binaries the test that makes one is skipped, or fails with CI=true.
    """

    def __init__(self) -> None:
        binaries = _binaries()
        if binaries is None:
            missing = (
                "PostgreSQL's binaries (initdb, pg_ctl) are missing: install the package"
                " `postgresql`, or put its bin folder on the PATH."
            )
            if os.environ.get("CI") == "true":
                pytest.fail(missing)
            pytest.skip(missing)
        self._binaries = binaries
        self._home = Path(tempfile.mkdtemp(prefix="tunesmith-pg-"))
        self._log = self._home.parent / f"{self._home.name}.log"
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.url = f"postgresql+psycopg://tunesmith@/postgres?host={self._home}"
        try:
            self._run(
                *("initdb", "-D", str(self._home / "data"), "-U", "tunesmith", "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            )
        except BaseException:
            self.remove()
            raise

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = (
            # Commits are handed to the system at once: what is lost else, when it is stopped as by
            # a crash, looks like an error of ours.
            f"-c listen_addresses='' -c unix_socket_directories={self._home} -c fsync=off"
            " -c full_page_writes=off -c max_connections=200"
        )
        self._control("-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` as a crash would, `fast` with what is open undone."""
        self._control("-m", mode, "stop")

    def create_database(self) -> str:
        """URL of a new, empty database."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url.replace("/postgres?", f"/{name}?")

    def remove(self) -> None:
        """Remove all of its files."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._log.unlink(missing_ok=True)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._home / "data"), "-w", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits what pg_ctl writes to: a pipe would never end, a file does.
        with self._log.open("a+") as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdout=output,
                stderr=output,
                cwd=self._home,
                check=False,
                **self._as_user,
            )
            if done.returncode:
                output.seek(0)
                pytest.fail(f"{program} failed:\n{output.read()}")
