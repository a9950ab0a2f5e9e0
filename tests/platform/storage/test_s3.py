"""S3 when it goes wrong: full, down, failing, refusing, or without the bucket."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tunesmith.platform.storage import ObjectNotFound, Storage, StorageFull, StorageUnavailable


class Faulty(ThreadingHTTPServer):
    """An S3 that answers every request with one error."""

    status = 500
    code = "InternalError"
    requests = 0


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        server = self.server
        assert isinstance(server, Faulty)
        server.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"<Error><Code>{server.code}</Code><Message>It said so.</Message></Error>".encode()
        self.send_response(server.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Not to the test's output."""


@pytest.fixture
def faulty(s3_environment: pytest.MonkeyPatch) -> Iterator[Faulty]:
    with Faulty(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        s3_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


OPERATIONS: list[Callable[[Storage], object]] = [
    lambda storage: storage.get("a"),
    lambda storage: storage.open_read("a"),
    lambda storage: storage.exists("a"),
    lambda storage: storage.list(),
    lambda storage: storage.delete("a"),
    lambda storage: storage.put("a", b"x"),
]


@pytest.mark.parametrize(
    ("status", "code"),
    [(507, "XMinioStorageFull"), (400, "XMinioAdminBucketQuotaExceeded"), (507, "Other")],
)
def test_full(faulty: Faulty, status: int, code: str) -> None:
    faulty.status, faulty.code = status, code
    with pytest.raises(StorageFull, match="Could not write a: storage has no space"):
        Storage("s3://bucket").put("a", b"x")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refusing(faulty: Faulty, operation: Callable[[Storage], object]) -> None:
    faulty.status, faulty.code = 403, "AccessDenied"
    with pytest.raises(StorageUnavailable, match="refuses access"):
        operation(Storage("s3://bucket"))


def test_failing_is_tried_again_and_then_said(faulty: Faulty) -> None:
    with pytest.raises(StorageUnavailable, match="Could not write a: It said so") as caught:
        Storage("s3://bucket").put("a", b"x")
    assert faulty.requests == 4
    assert caught.value.retry_after > 0


def test_down(s3_environment: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_port  # of nobody, once it is closed
    s3_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StorageUnavailable, match="Could not connect"):
        Storage("s3://bucket").exists("a")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_bucket(s3_storage: Storage, operation: Callable[[Storage], object]) -> None:
    with pytest.raises(StorageUnavailable, match="there is no bucket missing"):
        operation(Storage("s3://missing/prefix"))


def test_no_credentials(s3_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageUnavailable, match="credentials"):
        Storage(s3_storage.url).put("a", b"x")


def test_prefixes_do_not_see_each_other(s3_storage: Storage) -> None:
    bucket = s3_storage.url.rsplit("/", 2)[0]
    Storage(bucket).put("some/prefixed", b"x")
    s3_storage.put("a", b"y")
    assert s3_storage.list() == ["a"]
    assert Storage(bucket).list() == ["some/prefix/a", "some/prefixed"]


def test_what_another_process_does_is_seen_at_once(s3_storage: Storage) -> None:
    other = Storage(s3_storage.url)
    assert (other.list(), other.exists("a")) == ([], False)
    s3_storage.put("a", b"x")
    assert (other.list(), other.get("a")) == (["a"], b"x")
    s3_storage.delete("a")
    assert (other.list(), other.exists("a")) == ([], False)


def test_a_large_object_goes_in_parts(
    s3_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    megabyte = bytes(range(256)) * 4096
    with s3_storage.writer() as writer:
        for _ in range(110):
            writer.write(megabyte)
        assert len(list(tmp_path.iterdir())) == 1
        writer.commit(writer.sha256)
    assert list(tmp_path.iterdir()) == []
    assert s3_storage.list() == [writer.sha256]
    with s3_storage.open_read(writer.sha256) as stream:
        assert all(stream.read(len(megabyte)) == megabyte for _ in range(110))
        assert stream.read() == b""


def test_parts_of_a_failed_upload_are_given_up(
    s3_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    real = s3fs.S3FileSystem._call_s3
    called: list[str] = []

    async def fail(self: object, method: str, *args: object, **kwargs: object) -> object:
        called.append(method)
        if method == "upload_part":
            raise OSError(5, "The line went dead.")
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", fail)

    def write() -> None:
        with s3_storage.writer("a") as writer:
            for _ in range(110):
                writer.write(b"x" * 1024**2)

    with pytest.raises(StorageUnavailable, match="line went dead"):
        write()
    assert called[0] == "create_multipart_upload"
    assert called[-1] == "abort_multipart_upload"
    assert s3_storage.list() == []


def test_a_stream_that_breaks(s3_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_storage.put("a", b"x" * 10)
    stream = s3_storage.open_read("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3_storage.delete("a")
    with stream, pytest.raises(ObjectNotFound):
        stream.read()
