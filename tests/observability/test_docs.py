"""What operators read is so: the table of metrics, the routing of alerts, the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from scripts.metrics_table import PAGE, page_with, registries, table
from tests.observability.tools import ROOT, RULES, RUNBOOKS, run, tool

from tunesmith.platform.cli import app

PAGES = sorted(RUNBOOKS.glob("*.md"))


def commands() -> dict[str, set[str] | None]:
    """The command line's words, and below each those of its group; None: it is no group."""
    group = typer.main.get_group(app)
    below = {name: getattr(command, "commands", None) for name, command in group.commands.items()}
    return {name: None if found is None else set(found) for name, found in below.items()}


def test_the_table_of_metrics_is_that_of_the_processes(tmp_path: Path) -> None:
    text = PAGE.read_text()
    again = page_with(text, table(registries(tmp_path)))
    assert text == again, "run .venv/bin/python -m scripts.metrics_table"


def test_the_page_counts_the_alerts_right() -> None:
    names = {name for path in RULES for name in re.findall(r"alert: (\w+)", path.read_text())}
    assert f"{len(names)} alerts in four files" in PAGE.read_text()
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"^- \[(\w+)\]", index, re.MULTILINE)) == names


def test_alertmanager_takes_the_example() -> None:
    run(tool("amtool"), "check-config", ROOT / "docs" / "alertmanager.example.yml")


@pytest.mark.parametrize("page", [*PAGES, PAGE], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_runbooks_name_commands_that_there_are() -> None:
    known = commands()
    for page in PAGES:
        for line in re.findall(r"(?<![\w/-])tunesmith ((?:[a-z]+ ?)+)", _code(page.read_text())):
            words = line.split()
            assert words[0] in known, (page.name, line)
            below = known[words[0]]
            if below is not None:
                assert words[1] in below, (page.name, line)


def _code(text: str) -> str:
    """Blocks and spans of code, a line each."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    without = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    starts = [block_line for block in blocks for block_line in block.splitlines()]
    spans = re.findall(r"`([^`]+)`", without)
    return "\n".join(line for line in [*starts, *spans] if line.startswith("tunesmith "))
