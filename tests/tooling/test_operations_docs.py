"""What docs/operations names is there: values, variables, settings, commands, files, tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.charts.rendering import render

from tunesmith.platform.cli import app
from tunesmith.platform.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/tunesmith/values.yaml").read_text())
OF_THE_COMMAND_LINE = {"TUNESMITH_CONFIG", "TUNESMITH_URL", "TUNESMITH_API_KEY"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def code(text: str) -> Iterator[str]:
    """Every piece of code of a page: lines of blocks, and what stands between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M))


def yaml_blocks(page: Path) -> list[Any]:
    found = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(block) for block in found]


def is_value(path: list[str]) -> bool:
    """Whether the chart has the value; a name in capitals is one that its user gives."""
    if path[0] == "settings":
        return len(path) == 1 or path[1] in Settings.model_fields
    if path[:1] == ["bases"] and path[2:3] == ["engine"]:
        path = ["engineDefaults", *path[3:]]
    elif path[:1] == ["bases"] and len(path) > 2:
        schema = (ROOT / "charts/tunesmith/values.schema.json").read_text()
        return all(f'"{name}"' in schema for name in path[2:])
    elif path[:2] == ["ray", "workerGroups"] and len(path) > 3:
        path = ["ray", "workerGroupDefaults", *path[3:]]
    here: Any = VALUES
    for name in path:
        if not isinstance(here, dict) or (name not in here and here):
            return False
        here = here.get(name, {})
    return True


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor in anchors, target


@pages
def test_variables_are_settings(page: Path) -> None:
    known = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields} | OF_THE_COMMAND_LINE
    assert set(re.findall(r"TUNESMITH_[A-Z_]*[A-Z]", page.read_text())) <= known


@pages
def test_values_are_the_charts(page: Path) -> None:
    for piece in code(page.read_text()):
        named = re.findall(r"--set (?:-\w+ )?([\w.]+)=", piece)
        if re.fullmatch(r"[a-z][A-Za-z0-9]+(\.[A-Za-z0-9_]+)+(: .*)?", piece):
            named.append(piece.partition(":")[0])
        for name in named:
            path = name.split(".")
            if path[0] in VALUES:
                assert is_value(path), name


@pages
def test_files_are_there(page: Path) -> None:
    for piece in code(page.read_text()):
        for name in re.findall(r"\b(?:tests|charts|docs|images|scripts)/[\w./-]*\w/?", piece):
            assert (ROOT / name).exists(), name


@pages
def test_commands_are_there(page: Path) -> None:
    root: Any = typer.main.get_command(app)
    for piece in code(page.read_text()):
        text = piece.partition(" #")[0].strip()
        if not text.startswith("tunesmith ") or text.startswith("tunesmith -"):
            continue
        command, words = root, shlex.split(text)[1:]
        while words and (below := getattr(command, "commands", None)):
            assert words[0] in below, text
            command = below[words.pop(0)]
        options = {"--help"} | {name for p in command.params for name in p.opts}
        assert {w.partition("=")[0] for w in words if w.startswith("--")} <= options, text


def test_the_values_of_the_install_render() -> None:
    (values,) = yaml_blocks(FOLDER / "install.md")
    kinds = {o["kind"] for o in render(values, namespace="tunesmith")}
    assert {"Deployment", "RayCluster", "Ingress", "NetworkPolicy"} <= kinds


def test_objects_that_commands_name_are_the_releases() -> None:
    (values,) = yaml_blocks(FOLDER / "install.md")
    objects = render(values, namespace="tunesmith")
    made = {(o["kind"].lower(), o["metadata"]["name"]) for o in objects}
    labels = {o["metadata"].get("labels", {}).get("app.kubernetes.io/component") for o in objects}
    text = "\n".join(page.read_text() for page in PAGES)
    for kind, name in re.findall(r"\b(deployment|service|job)[/ ](tunesmith-[a-z-]+[a-z])", text):
        assert (kind, name) in made, f"{kind}/{name}"
    components = set(re.findall(r"app\.kubernetes\.io/component=([a-z-]+)", text))
    ray = next(o for o in objects if o["kind"] == "RayCluster")["spec"]
    labels |= {"ray-head", "ray-worker"} & set(re.findall(r"ray-\w+", str(ray)))
    assert components <= labels


def test_the_backup_that_runs_by_the_clock_is_the_platforms() -> None:
    (backup,) = yaml_blocks(FOLDER / "backup.md")
    (values,) = yaml_blocks(FOLDER / "install.md")
    (job,) = (o for o in render({**values, **backup}) if o["kind"] == "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    command: Any = typer.main.get_command(app)
    options = {name for p in command.commands["backup"].params for name in p.opts}
    assert container["command"] == ["tunesmith", "backup"]
    assert {word for word in container["args"] if word.startswith("--")} <= options
