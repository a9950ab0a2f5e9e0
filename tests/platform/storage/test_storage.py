"""What every kind of storage does alike."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunesmith.platform.storage import (
    InvalidKey,
    ObjectNotFound,
    Storage,
    StorageMisconfigured,
)


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 9])
def test_what_is_put_is_there(storage: Storage, data: bytes) -> None:
    storage.put("files/a.jsonl", data)
    assert storage.exists("files/a.jsonl")
    assert storage.get("files/a.jsonl") == data
    assert storage.size("files/a.jsonl") == len(data)
    with storage.open_read("files/a.jsonl") as stream:
        assert stream.read(3) + stream.read() == data


def test_what_is_not_there(storage: Storage) -> None:
    storage.put("a/b/c", b"x")
    for key in ("z", "a", "a/b", "a/b/c/d", "a/b/cc"):
        assert not storage.exists(key)
        for look in (storage.get, storage.open_read, storage.size):
            with pytest.raises(ObjectNotFound, match=f"holds no object {key}"):
                look(key)
        storage.delete(key)
    assert storage.list() == ["a/b/c"]


def test_nothing_is_there_at_first(storage: Storage) -> None:
    assert storage.list() == []
    assert storage.list("a/b") == []
    assert not storage.exists("a")
    storage.delete("a")
    storage.delete_tree("a")


def test_put_replaces(storage: Storage) -> None:
    storage.put("a", b"old and long")
    storage.put("a", b"new")
    assert storage.get("a") == b"new"


def test_delete(storage: Storage) -> None:
    storage.put("a/b", b"x")
    storage.delete("a/b")
    storage.delete("a/b")
    assert not storage.exists("a/b")
    storage.put("a", b"an object where a folder was")
    assert storage.list() == ["a"]


def test_list_and_delete_tree_go_by_whole_segments(storage: Storage) -> None:
    keys = ["a/b/c", "a/b/d/e", "a/bb", "a/bb-c/d", "b"]
    for key in reversed(keys):
        storage.put(key, key.encode())
    assert storage.list() == keys
    assert storage.list("a/b") == storage.list("a/b/") == ["a/b/c", "a/b/d/e"]
    assert storage.list("a/bb") == []
    storage.delete_tree("a/b")
    assert storage.list() == ["a/bb", "a/bb-c/d", "b"]


@pytest.mark.parametrize("pieces", [[], [b"ab", b"", b"c"], [b"x" * 1_000_000] * 20])
def test_writer_counts_hashes_and_commits_under_the_content(
    storage: Storage, pieces: list[bytes]
) -> None:
    with storage.writer() as writer:
        for piece in pieces:
            assert writer.write(piece) == len(piece)
        assert storage.list() == []
        key = f"files/{writer.sha256}"
        writer.commit(key)
        assert storage.exists(key)
    data = b"".join(pieces)
    assert key == f"files/{hashlib.sha256(data).hexdigest()}"
    assert writer.size == len(data) == storage.size(key)
    assert storage.get(key) == data
    with storage.open_read(key) as stream:
        assert b"".join(iter(lambda: stream.read(70_001), b"")) == data


def test_writer_with_a_key_commits_at_the_end(storage: Storage) -> None:
    with storage.writer("a") as writer:
        writer.write(b"x")
        assert not storage.exists("a")
    assert storage.get("a") == b"x"


@pytest.mark.parametrize("size", [1, 20_000_000])
def test_writer_left_by_an_exception_leaves_what_was_there(storage: Storage, size: int) -> None:
    storage.put("a", b"old")

    def write() -> None:
        with storage.writer("a") as writer:
            writer.write(b"n" * size)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert storage.list() == ["a"]
    assert storage.get("a") == b"old"


def test_writer_without_a_key_and_commit_leaves_nothing(storage: Storage) -> None:
    with storage.writer() as writer:
        writer.write(b"x")
    assert storage.list() == []


def test_a_committed_writer_is_done(storage: Storage) -> None:
    with storage.writer() as writer:
        writer.commit("a")
        with pytest.raises(ValueError, match="committed"):
            writer.write(b"x")
        with pytest.raises(ValueError, match="committed"):
            writer.commit("b")
    assert storage.list() == ["a"]


BAD_KEYS = [
    *["", "/", "/etc/passwd", "../a", "a/../b", "a/..", ".", "a//b", "a/", ".hidden"],
    *["a/.incoming", "a\\b", "a b", "a\nb", "a\n", "a\0", "-a", "é", "a?versionId=1"],
    *["s3://b/a", "~/a", "a" * 201, "/".join(["a" * 100] * 9)],
]


def test_keys_that_could_lead_elsewhere(storage: Storage) -> None:
    for key in BAD_KEYS:
        for act in (storage.get, storage.open_read, storage.size, storage.exists, storage.delete):
            with pytest.raises(InvalidKey):
                act(key)
        with pytest.raises(InvalidKey):
            storage.put(key, b"x")
        with storage.writer() as writer, pytest.raises(InvalidKey):
            writer.commit(key)
        if key not in ("", "a/"):  # as a prefix, these are all objects, and those below `a`
            with pytest.raises(InvalidKey):
                storage.list(key)
    with pytest.raises(InvalidKey):
        storage.delete_tree("")
    assert storage.list() == []


def test_many_threads_write_and_delete_side_by_side(storage: Storage) -> None:
    def use(number: int) -> None:
        for turn in range(5):
            key = f"shared/{number % 3}/{number}"
            storage.put(key, f"{number} {turn}".encode() * 100)
            assert storage.get(key) == f"{number} {turn}".encode() * 100
            storage.delete(key)  # and with the last one, a folder goes

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(12)))
    assert storage.list() == []


def test_a_pickled_storage_is_the_same_storage(storage: Storage) -> None:
    storage.put("a", b"x")
    assert pickle.loads(pickle.dumps(storage)).get("a") == b"x"


@pytest.mark.parametrize(
    "url",
    [
        "http://x/y",
        "s3://",
        "s3:///key",
        "s3://bucket/a?b",
        "file://host/a",
        "file://",
        "x://",
        "abfs://a/b",
    ],
)
def test_urls_that_mean_no_storage(url: str) -> None:
    with pytest.raises(StorageMisconfigured, match="Storage cannot be at"):
        Storage(url)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        StorageMisconfigured, match=r"the package gcsfs, .*pip install 'tunesmith\[gcs\]'"
    ):
        Storage("gs://bucket").get("a")
