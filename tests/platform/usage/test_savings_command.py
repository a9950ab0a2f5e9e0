"""`tunesmith savings`: what it asks for, and what it prints."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
from tests.platform.cli.conftest import FakePlatform, fake
from typer.testing import CliRunner

from tunesmith.platform.cli.errors import CommandFailed
from tunesmith.platform.cli.savings import savings

__all__ = ["fake"]

app = typer.Typer()
app.command()(savings)

FOUND: dict[str, Any] = {
    "object": "savings",
    "currency": "EUR",
    "summary": ["Tuned models answered 30 requests.", "It cost €5 here: €10 are saved."],
    "models": [
        {
            "model": "ft:pocket:a::1",
            "alias": "bot",
            "requests": 1030,
            "prompt_tokens": 4000,
            "completion_tokens": 500,
            "api_cost": 15.0,
            "unpriced_requests": 0,
        }
    ],
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, fake: FakePlatform) -> None:
    monkeypatch.setenv("TUNESMITH_URL", fake.url)
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-tenant")


def test_it_asks_by_what_was_given_and_shows_the_answer(fake: FakePlatform) -> None:
    fake.on("GET", "/v1/savings", FOUND)
    result = CliRunner().invoke(
        app, ["--price-per-query", "0.5", "--upfront", "5", "--since", "2026-01-31"]
    )
    assert result.exit_code == 0, result.output
    asked = fake.last("GET")
    assert asked.key == "sk-tenant"
    assert parse_qs(urlsplit(asked.path).query) == {
        "price_per_query": ["0.5"],
        "upfront_cost": ["5.0"],
        "since": ["2026-01-31"],
    }
    lines = result.output.splitlines()
    assert lines[:2] == FOUND["summary"]
    assert lines[-1].split("\t") == ["ft:pocket:a::1", "bot", "1,030", "4,000", "500", "€15"]


def test_json_is_the_answer_itself(fake: FakePlatform) -> None:
    fake.on("GET", "/v1/savings", FOUND)
    result = CliRunner().invoke(app, ["--api-model", "big", "--json"])
    assert json.loads(result.output) == FOUND
    assert parse_qs(urlsplit(fake.last("GET").path).query) == {"api_model": ["big"]}


def test_a_refusal_is_its_sentence(fake: FakePlatform) -> None:
    error = {"error": {"message": "Say the API's price.", "type": "invalid_request_error"}}
    fake.on("GET", "/v1/savings", error, status=400)
    result = CliRunner().invoke(app, [])
    assert isinstance(result.exception, CommandFailed)
    assert str(result.exception) == "Say the API's price."
