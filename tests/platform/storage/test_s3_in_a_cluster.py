"""S3 as clusters have it: it fails now and then, and credentials come from the workload's token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.platform.storage.flaky_proxy import FAULTS, FlakyProxy

from tunesmith.platform.storage import Storage, objects

OBJECTS = 12


@pytest.fixture
def flaky(
    s3_storage: Storage, s3_endpoint: str, s3_environment: pytest.MonkeyPatch
) -> Iterator[FlakyProxy]:
    """A proxy before the S3 of `s3_storage`, which spoils every tenth request."""
    proxy = FlakyProxy(s3_endpoint, every=10)
    s3_environment.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.end()


def content(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * 3000


def test_reads_and_writes_survive_every_tenth_call_that_fails(
    flaky: FlakyProxy, s3_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_IN_MEMORY_BYTES", 50_000)  # some from memory, some from a file
    written = {f"a/{number}": content(number)[: 8000 * (number + 1)] for number in range(OBJECTS)}
    for key, data in written.items():
        s3_storage.put(key, data)
    for key, data in written.items():
        assert s3_storage.size(key) == len(data)
        assert s3_storage.get(key) == data
        with s3_storage.open_read(key) as stream:
            assert stream.read() == data
    assert s3_storage.list("a") == sorted(written)
    s3_storage.delete_tree("a")
    assert not any(s3_storage.exists(key) for key in written)
    assert set(flaky.spoiled) == set(FAULTS)
    assert sum(flaky.spoiled.values()) > 9


def test_a_large_object_survives_calls_that_fail(
    s3_storage: Storage, s3_endpoint: str, s3_environment: pytest.MonkeyPatch
) -> None:
    proxy = FlakyProxy(s3_endpoint, every=3)
    s3_environment.setenv("AWS_ENDPOINT_URL", proxy.url)
    megabyte = bytes(range(256)) * 4096
    try:
        with s3_storage.writer("large") as writer:
            for _ in range(101):  # from 100 MiB on it goes in parts
                writer.write(megabyte)
        digest = hashlib.sha256()
        with s3_storage.open_read("large") as stream:
            while data := stream.read(len(megabyte)):
                digest.update(data)
    finally:
        proxy.end()
    assert digest.hexdigest() == writer.sha256
    assert set(proxy.spoiled) == set(FAULTS)


def test_credentials_come_from_the_workloads_token(
    s3_storage: Storage,
    s3_endpoint: str,
    s3_environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    proxy = FlakyProxy(s3_endpoint, every=1_000_000)
    (tmp_path / "token").write_text("a.service.account")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        s3_environment.delenv(name)
    s3_environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3_environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    s3_environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/tunesmith")
    s3_environment.setenv("AWS_ENDPOINT_URL", proxy.url)  # of S3 and of STS
    try:
        storage = Storage(s3_storage.url)
        storage.put("a", b"x")
        assert storage.get("a") == b"x"
    finally:
        proxy.end()
    (signer,) = proxy.signers
    assert signer.startswith("ASIA"), "a temporary key of the role"
