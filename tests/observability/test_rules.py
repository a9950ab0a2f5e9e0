"""Alerts fire when they should and are silent when they should; each has its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.observability.alert_cases import CASES, Case
from tests.observability.tools import RULES, RUNBOOKS, run, tool

RUNBOOK_URL = "https://runbooks.tunesmith.invalid/"


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = {rule["alert"] for rule in ALERTS}


def promtool_test(case: Case) -> dict[str, Any]:
    """A test as promtool reads it: it asks for the series ALERTS, which has an alert's labels."""
    labels = "".join(f',{name}="{value}"' for name, value in case.labels.items())
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"{labels}}}'
    return {
        "name": f"{case.alert}: {case.story}",
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "promql_expr_test": [
            {
                # promtool repeats the expression of a test that fails, and so its comment
                "expr": f"count(count by (alertname) ({firing})) # {case.story}",
                "eval_time": f"{case.at}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if case.fires else [],
            }
        ],
    }


def test_rules_are_valid() -> None:
    run(tool("promtool"), "check", "rules", *RULES)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path, tmp_path: Path) -> None:
    promtool = tool("promtool")
    files = []
    for step in sorted({case.step for case in CASES[path.stem]}):
        files.append(tmp_path / f"every-{step}-minutes.yaml")
        files[-1].write_text(
            json.dumps(
                {
                    "rule_files": [str(path)],
                    "evaluation_interval": f"{step}m",
                    "tests": [promtool_test(c) for c in CASES[path.stem] if c.step == step],
                }
            )
        )
    run(promtool, "test", "rules", *files)


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    told = {(case.alert, case.fires) for cases in CASES.values() for case in cases}
    assert told == {(name, fires) for name in NAMES for fires in (True, False)}
    windows = {
        (case.alert, case.labels["window"])
        for case in CASES["slo"]
        if case.fires and "window" in case.labels
    }
    assert windows == {
        (rule["alert"], rule["labels"]["window"]) for rule in ALERTS if "window" in rule["labels"]
    }


def test_every_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK_URL}{rule['alert']}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_runbooks_say_what_an_operator_needs_at_night(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What it means", "Who is hurt", "Look", "Do", "Prevent"]
    assert "```" in page.split("## Look")[1], "no command to look with"
