"""A platform's stores with something in them, and empty ones of the same kinds."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import psycopg
import pytest
from moto.server import ThreadedMotoServer
from psycopg import sql
from sqlalchemy import select
from tests.platform.conftest import World

from tunesmith.platform import files, tenants
from tunesmith.platform.backup.archive import Archive
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import File
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import CONFIG, WEIGHTS, put_adapter


class Stack:
    """A database and a storage; `world` writes rows, and the methods here objects with them."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self.database = database
        self.storage = storage
        self.world = World(database)

    def tenant(self, name: str = "Acme") -> str:
        """Id of a new tenant that has a training file in storage."""
        with self.database.transaction() as session:
            tenant_id = tenants.create_tenant(session, name).id
        self.world.training_files[tenant_id] = self.upload(tenant_id, name.encode())
        return tenant_id

    def upload(self, tenant_id: str, content: bytes) -> str:
        """Id of a file of examples whose bytes are in storage, as the gateway stores them."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.storage.put(files.original_key(tenant_id, sha256), content)
        self.storage.put(files.examples_key(tenant_id, sha256), b"examples " + content)
        return self.world.file(tenant_id, sha256=sha256)

    def model(self, tenant_id: str, content: bytes) -> tuple[str, str]:
        """Name and digest of a tuned model whose adapter is in storage."""
        digest = put_adapter(self.storage, {WEIGHTS: content, CONFIG: b"{}"})
        return self.world.model(tenant_id, digest), digest

    def file(self, file_id: str) -> File:
        with self.database.reading() as session:
            return session.scalars(select(File).where(File.id == file_id)).one()


EMBEDDED, CLUSTER = "sqlite-folder", "postgres-s3"
on_both = pytest.mark.parametrize("make_stack", [EMBEDDED, CLUSTER], indirect=True)
on_cluster = pytest.mark.parametrize("make_stack", [CLUSTER], indirect=True)

MakeStack = Callable[[], Stack]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """An S3 server, as the variables that name it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    server.stop()


@pytest.fixture
def make_stack(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeStack]:
    """Makes stacks without any table: on SQLite and a folder, or by parameter on `CLUSTER`."""
    made: list[Stack] = []
    on_postgres: list[str] = []
    kind = getattr(request, "param", EMBEDDED)
    if kind == CLUSTER:
        server: str = request.getfixturevalue("postgres_url")
        variables: dict[str, str] = request.getfixturevalue("s3_server")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    def make() -> Stack:
        name = f"stack_{uuid4().hex}"
        if kind == EMBEDDED:
            url, place = (
                f"sqlite:///{tmp_path / name / 'tunesmith.db'}",
                f"{tmp_path / name}/objects",
            )
        else:
            with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            on_postgres.append(name)
            url = server.replace("/postgres?", f"/{name}?")
            bucket = name.replace("_", "-")
            with urlopen(
                Request(f"{variables['AWS_ENDPOINT_URL']}/{bucket}", method="PUT")
            ) as answer:
                assert answer.status == 200
            place = f"s3://{bucket}/data"
        made.append(Stack(Database(url), Storage(place)))
        return made[-1]

    yield make
    for stack in made:
        stack.database.dispose()
    for name in on_postgres:
        with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
            identifier = sql.Identifier(name)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def stack(make_stack: MakeStack, migrated_sqlite: Path) -> Stack:
    """A migrated stack with a base."""
    made = make_stack()
    if made.database.is_sqlite:
        shutil.copyfile(migrated_sqlite, made.database.engine.url.database or "")
    else:
        migrate(made.database)
    made.world.register_base()
    return made


@pytest.fixture
def archive(stack: Stack, tmp_path: Path) -> Archive:
    """An archive of the kind of the stack's storage, empty."""
    if stack.storage.url.startswith("s3://"):
        return Archive(Storage(stack.storage.url.removesuffix("/data") + "/backups"))
    return Archive(Storage(tmp_path / "backups"))
