"""Environments of other clients under `build/conformance`, made once and again when a lock changes.

Nothing of them is installed into the project's own environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[2] / "build" / "conformance"

_INSTALL_SECONDS = 300


def node_folder() -> Path:
    """A folder with the official Node client in `node_modules`; skips without Node or npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are missing: install the packages `nodejs` and `npm`.")
    locks = [HERE / "node" / name for name in ("package.json", "package-lock.json")]

    def make(folder: Path) -> None:
        for lock in locks:
            shutil.copy(lock, folder)
        _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    return _made(BUILD / "node", locks, make)


def langchain_python() -> Path:
    """A Python with LangChain's client for OpenAI."""
    lock = HERE / "langchain" / "requirements.txt"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], folder)
        python = str(folder / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
        _run([*install, "-r", str(lock)], folder)

    return _made(BUILD / "langchain", [lock], make) / "bin" / "python"


def _made(folder: Path, locks: Sequence[Path], make: Callable[[Path], None]) -> Path:
    stamp = folder / ".lock"
    text = "".join(lock.read_text() for lock in locks)
    if not stamp.exists() or stamp.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        make(folder)
        stamp.write_text(text)
    return folder


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        failed, said = done.returncode != 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        failed, said = True, f"it took more than {_INSTALL_SECONDS} s"
    if failed:
        why = f"{' '.join(command)} failed; is there a package registry?\n{said[-2000:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
