"""Adapters: named by content, fetched whole, verified every time."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import struct
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from tunesmith.platform.storage import CorruptAdapter, InvalidKey, ObjectNotFound, Storage
from tunesmith.platform.storage.adapters import (
    ADAPTER_FILES,
    CONFIG,
    WEIGHTS,
    adapter_digest,
    adapter_exists,
    delete_adapter,
    fetch_adapter,
    forget_adapter,
    is_adapter_digest,
    put_adapter,
    sweep_cache,
)

FILES = {CONFIG: b'{"r": 8}', WEIGHTS: bytes(range(256)) * 10_000}


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_digest_by_its_definition() -> None:
    by_hand = b"".join(
        name.encode() + b"\0" + struct.pack(">Q", len(FILES[name])) + FILES[name]
        for name in ["adapter_config.json", "adapter_model.safetensors"]
    )
    digest = hashlib.sha256(by_hand).hexdigest()
    assert adapter_digest(FILES) == digest
    assert adapter_digest(dict(reversed(FILES.items()))) == digest


def test_digest_knows_where_a_file_ends() -> None:
    assert adapter_digest({"a": b"b", "c": b""}) != adapter_digest({"a": b"", "c": b"b"})
    assert adapter_digest({"é": b""}) == hashlib.sha256("é\0".encode() + bytes(8)).hexdigest()


def test_put_and_fetch(storage: Storage, tmp_path: Path) -> None:
    digest = put_adapter(storage, FILES)
    assert is_adapter_digest(digest)
    assert adapter_exists(storage, digest)
    assert storage.list() == [f"adapters/{digest}/{CONFIG}", f"adapters/{digest}/{WEIGHTS}"]
    cache = tmp_path / "cache" / "adapters"
    folder = fetch_adapter(storage, digest, cache)
    assert folder == cache / digest
    assert read_folder(folder) == FILES
    assert list(cache.iterdir()) == [folder]


def test_a_cached_adapter_needs_no_storage(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    folder = fetch_adapter(storage, digest, tmp_path / "cache")
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    delete_adapter(storage, digest)
    assert storage.list() == []
    assert not adapter_exists(storage, digest)
    assert fetch_adapter(storage, digest, tmp_path / "cache") == folder
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before


def test_deleting_twice_is_no_error(storage: Storage) -> None:
    digest = put_adapter(storage, FILES)
    delete_adapter(storage, digest)
    delete_adapter(storage, digest)
    assert storage.list() == []


@pytest.mark.parametrize("name", ADAPTER_FILES)
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "longer", "gone"])
def test_a_damaged_cache_is_repaired(tmp_path: Path, name: str, damage: str) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    path = fetch_adapter(storage, digest, tmp_path / "cache") / name
    content = FILES[name]
    if damage == "gone":
        path.unlink()
    else:
        flipped = bytes((content[0] ^ 1,)) + content[1:]
        damaged = {"flipped": flipped, "cut": content[:-1], "emptied": b"", "longer": content * 2}
        path.write_bytes(damaged[damage])
    assert read_folder(fetch_adapter(storage, digest, tmp_path / "cache")) == FILES


@pytest.mark.parametrize("name", ADAPTER_FILES)
def test_a_damaged_adapter_in_storage_never_reaches_an_engine(tmp_path: Path, name: str) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    storage.put(f"adapters/{digest}/{name}", FILES[name][:-1] + b"?")
    with pytest.raises(CorruptAdapter, match=f"Adapter {digest} is damaged in storage"):
        fetch_adapter(storage, digest, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*")) == []
    put_adapter(storage, FILES)
    assert read_folder(fetch_adapter(storage, digest, tmp_path / "cache")) == FILES


@pytest.mark.parametrize("missing", [*ADAPTER_FILES, None])
def test_an_adapter_that_is_not_there(storage: Storage, tmp_path: Path, missing: str) -> None:
    digest = adapter_digest(FILES)
    if missing:
        put_adapter(storage, FILES)
        storage.delete(f"adapters/{digest}/{missing}")
    with pytest.raises(ObjectNotFound):
        fetch_adapter(storage, digest, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*")) == []


@pytest.mark.parametrize(
    "name", ["", "pocket", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n"]
)
def test_names_that_are_no_digest(tmp_path: Path, name: str) -> None:
    storage = Storage(tmp_path / "storage")
    assert not is_adapter_digest(name)
    for act in (adapter_exists, delete_adapter):
        with pytest.raises(InvalidKey):
            act(storage, name)
    with pytest.raises(InvalidKey):
        fetch_adapter(storage, name, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "files", [{}, {CONFIG: b""}, {**FILES, "adapter_model.bin": b""}, {**FILES, "../x": b""}]
)
def test_an_adapter_is_two_files(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(InvalidKey, match="An adapter is made of"):
        put_adapter(Storage(tmp_path), files)


def test_an_interrupted_put_does_not_look_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path / "storage")
    real = Storage.put

    def put(self: Storage, key: str, data: bytes) -> None:
        if key.endswith(CONFIG):
            raise KeyboardInterrupt
        real(self, key, data)

    monkeypatch.setattr(Storage, "put", put)
    with pytest.raises(KeyboardInterrupt):
        put_adapter(storage, FILES)
    assert len(storage.list()) == 1
    assert not adapter_exists(storage, adapter_digest(FILES))


def test_processes_that_fetch_at_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    cache = tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        futures = [pool.submit(fetch_adapter, storage, digest, cache) for _ in range(9)]
        folders = {future.result() for future in futures}
    assert folders == {cache / digest}
    assert read_folder(cache / digest) == FILES
    assert list(cache.iterdir()) == [cache / digest]


def test_threads_that_repair_at_once_never_hand_out_damage(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    cache = tmp_path / "cache"

    def use(number: int) -> dict[str, bytes]:
        if number % 4 == 0:
            fetch_adapter(storage, digest, cache)
            damaged = tmp_path / f"damaged-{number}"
            damaged.write_bytes(b"")
            os.replace(damaged, cache / f"{digest}" / WEIGHTS)
        return read_folder(fetch_adapter(storage, digest, tmp_path / f"own-{number}"))

    with ThreadPoolExecutor(4) as pool:
        assert all(files == FILES for files in pool.map(use, range(16)))
    assert read_folder(fetch_adapter(storage, digest, cache)) == FILES


def test_downloads_that_a_crash_left_are_removed(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    digest = put_adapter(storage, FILES)
    old, new = tmp_path / "cache/.incoming-old", tmp_path / "cache/.incoming-new"
    for left in (old, new):
        left.mkdir(parents=True)
        (left / WEIGHTS).write_bytes(b"x")
    os.utime(old, (1, 1))
    fetch_adapter(storage, digest, tmp_path / "cache")
    assert not old.exists()
    assert new.exists()


def test_importing_it_costs_an_engine_little() -> None:
    heavy = ["fsspec", "s3fs", "botocore", "aiohttp", "sqlalchemy", "pydantic", "torch", "ray"]
    code = f"import sys, tunesmith.platform.storage.adapters; print({heavy} & sys.modules.keys())"
    code = code.replace(str(heavy), "set(" + str(heavy) + ")")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_cache_forgets_what_storage_does_not_hold(storage: Storage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    sweep_cache(storage, cache)  # nothing is there yet
    kept = put_adapter(storage, FILES)
    deleted = put_adapter(storage, {**FILES, CONFIG: b'{"r": 16}'})
    for digest in (kept, deleted):
        fetch_adapter(storage, digest, cache)
    (cache / "not a digest").mkdir()
    forget_adapter(storage, kept, cache)
    delete_adapter(storage, deleted)
    sweep_cache(storage, cache)
    forget_adapter(storage, deleted, cache)  # again: it is gone
    assert {path.name for path in cache.iterdir()} == {kept, "not a digest"}
