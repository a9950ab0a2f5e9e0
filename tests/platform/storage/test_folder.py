"""The folder: what others on the machine see, crashes, and a disk that is full."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.platform.storage import (
    InvalidKey,
    ObjectNotFound,
    Storage,
    StorageFull,
    StorageUnavailable,
)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Storage(tmp_path / "new" / "storage").put("a/b", b"x")
    finally:
        os.umask(old)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_an_object_is_on_disk_before_it_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        happened.append("sync folder" if is_folder else "sync file")
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        assert source.read_bytes() == b"x"
        happened.append("rename")
        replace(source, target)

    storage = Storage(tmp_path)
    storage.put("warm", b"")
    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    storage.put("a", b"x")
    assert happened == ["sync file", "rename", "sync folder"]


CRASH = """
import os, signal, sys
from tunesmith.platform.storage import Storage
storage = Storage(sys.argv[1])
with storage.writer("a/b") as writer:
    writer.write(b"x" * 3_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_leaves_nothing_visible_and_is_cleared_later(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    storage = Storage(tmp_path)
    assert storage.list() == []
    assert not storage.exists("a/b")
    (left,) = files_below(tmp_path)

    storage.put("c", b"x")
    assert left.exists()  # it may belong to a process that lives
    os.utime(left, (1, 1))
    Storage(tmp_path).put("d", b"x")
    assert not left.exists()
    assert Storage(tmp_path).list() == ["c", "d"]


def test_a_slow_upload_is_not_cleared_away(tmp_path: Path) -> None:
    with Storage(tmp_path).writer("slow") as writer:
        writer.write(b"x")
        (mine,) = files_below(tmp_path)
        os.utime(mine, (1, 1))
        Storage(tmp_path).put("other", b"y")
        assert mine.exists()
    assert Storage(tmp_path).get("slow") == b"x"


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that has no room for two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return

    # Mounting is not permitted: write to the device that is always full.
    def mkstemp(**_: object) -> tuple[int, str]:
        return os.open("/dev/full", os.O_WRONLY), str(folder / "nothing")

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    yield folder


@pytest.mark.parametrize("piece", [10_000, 2_000_000])
def test_a_full_disk_loses_nothing(full_disk: Path, piece: int) -> None:
    storage = Storage(full_disk)

    def write() -> None:
        with storage.writer("a") as writer:
            for _ in range(2_000_000 // piece):
                writer.write(b"x" * piece)

    with pytest.raises(StorageFull, match="no space is left") as caught:
        write()
    assert caught.value.status == 507
    assert storage.list() == []
    assert files_below(full_disk) == []


def test_a_full_disk_at_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delayed allocation and network file systems report the full disk when the file is synced."""
    import errno

    def fsync(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    storage = Storage(tmp_path)
    storage.put("a", b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageFull):
        storage.put("a", b"new")
    assert storage.get("a") == b"old"
    assert len(files_below(tmp_path)) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = Storage(tmp_path / "file" / "storage")
    with pytest.raises(StorageUnavailable, match="is not a folder"):
        storage.put("a", b"x")
    assert storage.list() == []


def test_a_key_cannot_be_object_and_folder(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.put("a/b", b"x")
    with pytest.raises(InvalidKey, match="both an object and a folder"):
        storage.put("a", b"y")
    with pytest.raises(InvalidKey, match="both an object and a folder"):
        storage.put("a/b/c", b"y")
    assert storage.list() == ["a/b"]
    with pytest.raises(ObjectNotFound):
        storage.get("a")


def test_emptied_folders_go(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.put("a/b/c", b"x")
    storage.put("a/d", b"x")
    storage.delete("a/b/c")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".incoming", "a", "d"]
    storage.delete_tree("a")
    assert [p.name for p in tmp_path.iterdir()] == [".incoming"]
