"""`tunesmith usage`: what it asks for, what it prints, what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
from tests.platform.cli.conftest import FakePlatform, fake
from typer.testing import CliRunner

from tunesmith.platform.cli.usage import usage

__all__ = ["fake"]

app = typer.Typer()
app.command()(usage)

FOUND: dict[str, Any] = {
    "object": "usage",
    "start": "2026-01-01",
    "end": "2026-01-30",
    "group_by": ["model"],
    "currency": "EUR",
    "total": {"gib_months": 1.5, "cost": 12.25},
    "data": [
        {
            "model": "pocket",
            "requests": 1030,
            "prompt_tokens": 4000,
            "cached_tokens": 100,
            "completion_tokens": 500,
            "training_tokens": 0,
            "cost": 12.0,
        }
    ],
    "storage": [],
    "unpriced_models": ["other"],
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, fake: FakePlatform) -> None:
    monkeypatch.setenv("TUNESMITH_URL", fake.url)
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-tenant")


def test_it_shows_a_line_for_each_model_and_the_sum(fake: FakePlatform) -> None:
    fake.on("GET", "/v1/usage", FOUND)
    result = CliRunner().invoke(app, ["--since", "2026-01-01"])
    assert result.exit_code == 0, result.output
    asked = parse_qs(urlsplit(fake.last("GET").path).query)
    assert asked == {"group_by": ["model"], "start": ["2026-01-01"]}
    lines = [line.split("\t") for line in result.output.splitlines()]
    assert lines[1] == ["pocket", "1,030", "4,000", "100", "500", "0", "€12"]
    assert [line[0] for line in lines[2:]] == [
        "Storage: 1.500 GiB-months.",
        "All together: €12.25.",
        "Without a price, and not in it: other.",
    ]


def test_without_prices_there_are_no_costs(fake: FakePlatform) -> None:
    line = FOUND["data"][0] | {"cost": None}
    total = {"gib_months": 0, "cost": None}
    found = FOUND | {"currency": None, "data": [line], "total": total, "unpriced_models": []}
    fake.on("GET", "/v1/usage", found)
    output = CliRunner().invoke(app, []).output
    assert output.splitlines()[-1].split("\t")[-2:] == ["0", ""]
    assert json.loads(CliRunner().invoke(app, ["--json"]).output) == found


def test_csv_goes_into_a_file_as_it_came(fake: FakePlatform, tmp_path: Path) -> None:
    text = "model,requests\r\npocket,3\r\n"
    fake.on("GET", "/v1/usage", text.encode())
    path = tmp_path / "use.csv"
    result = CliRunner().invoke(app, ["--csv", str(path), "--by", "day,model"])
    assert result.exit_code == 0, result.output
    assert path.read_bytes() == text.encode()
    asked = parse_qs(urlsplit(fake.last("GET").path).query)
    assert asked == {"group_by": ["day,model"], "format": ["csv"]}
    assert "pocket,3" in CliRunner().invoke(app, ["--csv", "-"]).output
