"""The three roots are one PEP 420 namespace, and stay one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMESPACE_ROOTS = ("gateway", "workers", "platform")


def test_no_init_file_breaks_the_namespace() -> None:
    # One in platform/ would hide the standard library's platform, one in a tunesmith/ would hide
    # the other two roots, one under tests/ would give two test files of one name one module.
    roots = [ROOT / root for root in NAMESPACE_ROOTS]
    folders = [*roots, *(root / "tunesmith" for root in roots)]
    found = [folder / "__init__.py" for folder in folders if (folder / "__init__.py").exists()]
    found += (ROOT / "tests").rglob("__init__.py")

    assert all(folder.is_dir() for folder in folders)
    assert found == []


def test_standard_library_platform_wins_from_the_repository_root() -> None:
    code = "import platform; print(platform.__file__); platform.python_version()"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not Path(ran.stdout.strip()).is_relative_to(ROOT / "platform")


def test_every_part_imports_from_the_one_namespace() -> None:
    code = "import tunesmith; print(*tunesmith.__path__, sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    )

    found = {Path(line) for line in ran.stdout.splitlines()}
    assert found >= {ROOT / root / "tunesmith" for root in NAMESPACE_ROOTS}
