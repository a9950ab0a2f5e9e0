"""`python -m tunesmith.workers.bases.pull ORIGIN DIRECTORY`: a base's files into a directory.

ORIGIN is `pocket` (the built-in base), `hub:OWNER/NAME[@REVISION]` (Hugging Face's hub or a mirror
of it: HF_ENDPOINT, HF_TOKEN), or `s3://BUCKET/PREFIX` and `gs://BUCKET/PREFIX` (credentials as
storage has them). The directory appears when it is whole: files are fetched beside it, looked over,
and moved. Running it again finds the directory and does nothing; after a run that was cut off, what
is whole already is kept.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.workers.bases.resolve import HUB_FILES, POCKET, BaseNotUsable
from tunesmith.workers.pocket import model_directory

log = structlog.get_logger()

MARK = ".tunesmith-origin.json"
"""In the directory: where its files are from. Hidden files do not count for a base's digest."""

_HEADER_BYTES = 8


def pull(origin: str, directory: Path) -> bool:
    """Put the base of `origin` into `directory`, unless it is there.

    Returns:
        Whether files were fetched.

    Raises:
        BaseNotUsable: the origin is unknown, cannot be had, or lacks files; or the directory holds
            something else, which is left alone.
    """
    fetch = _fetcher(origin)
    if _is_there(origin, directory):
        return False
    with _only_one(directory):
        if _is_there(origin, directory):  # another one was faster
            return False
        partial = directory.with_name(f".{directory.name}.partial")
        if partial.exists() and _origin_of(partial) != origin:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        (partial / MARK).write_text(json.dumps({"origin": origin}))
        log.info("pulling", origin=origin, directory=str(directory))
        fetch(partial)
        check_whole(partial, origin)
        partial.rename(directory)
    return True


def check_whole(directory: Path, origin: str) -> None:
    """Every weight that is announced is there, as long as its file's own header says.

    Raises:
        BaseNotUsable: a file is missing or cut off.
    """
    if not (directory / "config.json").is_file():
        raise BaseNotUsable(f"{origin} has no config.json: it is no Hugging Face model.")
    named = {path.name for path in directory.glob("*.safetensors")}
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        named |= set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    if not named:
        raise BaseNotUsable(f"{origin} has no *.safetensors files; other formats are not loaded.")
    for name in sorted(named):
        path = directory / name
        if not path.is_file():
            raise BaseNotUsable(f"{origin} lacks {name}, which its index names.")
        expected, found = _announced_size(path), path.stat().st_size
        if expected != found:
            raise BaseNotUsable(
                f"{name} of {origin} has {found} bytes, and {expected} by its own header: it is cut"
                " off or damaged. Run the Job again; if that does not help, the origin is damaged."
            )


def _announced_size(path: Path) -> int:
    """A safetensors file's size: 8 bytes, a JSON header as long as they say, and its tensors.

    https://github.com/huggingface/safetensors#format
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_BYTES), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
            ends = [t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return -1
    return _HEADER_BYTES + length + max(ends, default=0)


def _is_there(origin: str, directory: Path) -> bool:
    if not directory.exists():
        return False
    known = _origin_of(directory)
    if known == origin:
        return True
    if known is None and not any(directory.iterdir()):
        directory.rmdir()
        return False
    raise BaseNotUsable(
        f"{directory} holds {known or 'files of unknown origin'}, not {origin}. Give the base"
        " another directory (model.path or model.revision in the chart's values), or remove this"
        " one."
    )


def _origin_of(directory: Path) -> str | None:
    try:
        return str(json.loads((directory / MARK).read_text())["origin"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold a file lock beside the directory; the kernel lets go of it however this process ends."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetcher(origin: str) -> Callable[[Path], None]:
    if origin == POCKET:
        return lambda target: _copy(model_directory(), target)
    if origin.startswith("hub:"):
        repository, _, revision = origin.removeprefix("hub:").partition("@")
        return lambda target: _from_hub(repository, revision or None, target)
    if origin.startswith(("s3://", "gs://")):
        return lambda target: _from_bucket(origin.rstrip("/"), target)
    raise BaseNotUsable(
        f"{origin!r} names no base: use pocket, hub:OWNER/NAME[@REVISION], s3://BUCKET/PREFIX or"
        " gs://BUCKET/PREFIX."
    )


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def _from_hub(repository: str, revision: str | None, target: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot_download(repository, revision=revision, local_dir=target, allow_patterns=HUB_FILES)
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise BaseNotUsable(
            f"{repository!r} cannot be had from the hub ({reason}). Check the id, the revision, the"
            " network (networkPolicy.internet, HF_ENDPOINT) and HF_TOKEN."
        ) from error
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _from_bucket(url: str, target: Path) -> None:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
        found = files.find(root, detail=True)
        for path, entry in sorted(found.items()):
            place = target / Path(path).relative_to(root)
            if place.is_file() and place.stat().st_size == entry["size"]:
                continue  # of a run that was cut off
            place.parent.mkdir(parents=True, exist_ok=True)
            half = place.with_name(f"{place.name}.part")
            files.get_file(path, str(half))
            os.replace(half, place)
    except (OSError, ImportError, ValueError) as error:
        raise BaseNotUsable(f"{url} cannot be read: {error}") from error


def main() -> int:
    """Pull; exit code 1 and a sentence where it cannot be done."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    configure_logs(Settings(), process="bases")
    origin, directory = sys.argv[1], Path(sys.argv[2])
    try:
        fetched = pull(origin, directory)
    except BaseNotUsable as error:
        print(error, file=sys.stderr)
        return 1
    log.info("pulled" if fetched else "already there", origin=origin, directory=str(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
