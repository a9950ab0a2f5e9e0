"""A base's digest: of every file that decides what it computes or how it renders a chat."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

_SUFFIXES = (".json", ".safetensors", ".jinja", ".model", ".txt")


def base_digest(directory: Path, cache: Path | None = None) -> str:
    """SHA-256 hex over, for each file in sorted order: path, NUL, size, NUL, its SHA-256, NUL.

    Counted are configuration, tokenizer, chat template and safetensors weights; a README is not.

    Args:
        directory: of the base.
        cache: a JSON file that remembers digests of files by path, size and modification time,
            so that gigabytes are not read again at every start.
    """
    known: dict[str, str] = _read_cache(cache)
    fresh: dict[str, str] = {}
    whole = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix not in _SUFFIXES or not path.is_file():
            continue
        status = path.stat()
        mark = f"{path}:{status.st_size}:{status.st_mtime_ns}"
        fresh[mark] = known.get(mark) or _file_digest(path)
        whole.update(f"{name.as_posix()}\0{status.st_size}\0{fresh[mark]}\0".encode())
    if cache is not None and fresh.keys() - known.keys():
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known | fresh))
        temporary.replace(cache)
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
