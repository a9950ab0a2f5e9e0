"""Dashboards are what scripts/dashboards.py makes, and are whole: ids, places, data sources."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from scripts.dashboards import DASHBOARDS as MADE
from scripts.dashboards import text
from tests.observability.tools import DASHBOARDS


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def test_they_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in DASHBOARDS} == set(MADE)
    for path in DASHBOARDS:
        assert path.read_text() == text(MADE[path.stem]), "run scripts/dashboards.py"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_ids_places_and_a_source_of_their_own(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == MADE[path.stem].uid
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for one, other in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for panel in board["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = {word for word in variables if f"${word}" in target["expr"]}
            assert {"cluster", "namespace"} <= used, target["expr"]
    assert "datasource" in variables
