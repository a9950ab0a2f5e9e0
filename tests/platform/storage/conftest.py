"""Storages of every kind, each empty; S3 is moto's server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from tunesmith.platform.storage import Storage


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """URL of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables that S3 needs, but for its endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return monkeypatch


@pytest.fixture
def s3_storage(s3_endpoint: str, s3_environment: pytest.MonkeyPatch) -> Storage:
    """An empty prefix of a new bucket on S3."""
    s3_environment.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    bucket = f"bucket-{uuid4().hex}"
    with urlopen(Request(f"{s3_endpoint}/{bucket}", method="PUT")) as answer:
        assert answer.status == 200
    return Storage(f"s3://{bucket}/some/prefix")


@pytest.fixture(params=["folder", "file-url", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind in turn."""
    if request.param == "folder":
        return Storage(tmp_path / "not" / "there yet")
    if request.param == "file-url":
        return Storage((tmp_path / "a b").as_uri())
    if request.param == "memory":
        return Storage(f"memory://{uuid4().hex}/prefix")
    s3: Storage = request.getfixturevalue("s3_storage")
    return s3
