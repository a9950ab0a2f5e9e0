"""`tunesmith advise`: what it prints and draws, and what a mistake says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner, Result

from tunesmith.platform.cli.advise import advise
from tunesmith.platform.cli.errors import CommandFailed
from tunesmith.platform.domain.errors import TunesmithError

WORKED = (
    "--queries", "10_000", "--price-per-query", "0.03", "--upfront", "2000-5000",
    "--monthly", "50..1e2",
)  # fmt: skip
PRICES = """
[[price]]
model = "<big>"
input_per_million = 2.5
output_per_million = 10
currency = "EUR"
as_of = 2026-01-01
source = "<script>alert(1)</script>"
"""

app = typer.Typer()
app.command()(advise)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNESMITH_CONFIG", "TUNESMITH_PRICES_FILE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*arguments: str) -> str:
    with pytest.raises((CommandFailed, TunesmithError)) as failed:
        run(*arguments)
    return str(failed.value)


def test_it_says_when_it_pays_and_what_is_not_known() -> None:
    said = run(*WORKED, "--repetitive", "--prompting-not-enough", "--examples", "120").output
    assert said.startswith("Fine-tune.")
    assert "8 months at best, 15.6 in the middle case, 25 at worst" in said
    assert "$800 behind after 12 months" in said
    assert "What is not known yet" in said


def test_it_prints_the_answer_of_the_api_as_json() -> None:
    found: Any = json.loads(run(*WORKED, "--json").output)["break_even"]
    assert found["worst"]["break_even_months"] == 25.0
    assert found["inputs"]["monthly_cost"] == [50, 100]


def test_a_models_price_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    asked = (
        "--queries", "10000", "--tokens-in", "4000", "--tokens-out", "2000", "--api-model", "<big>",
        "--upfront", "5000", "--monthly", "100", "--json",
    )  # fmt: skip
    found = json.loads(run(*asked, "--prices", str(file)).output)
    assert found["break_even"]["middle"]["break_even_months"] == pytest.approx(25)
    assert found["currency"] == "EUR"
    assert "TUNESMITH_PRICES_FILE" in refused(*asked)
    monkeypatch.setenv("TUNESMITH_PRICES_FILE", str(file))
    assert json.loads(run(*asked).output) == found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--queries", "1,000"), "--queries 1,000: give a number"),
        (("--queries", "-5"), "--queries -5: give a number"),
        (("--queries", "nan"), "--queries nan: give a number"),
        (("--queries", "1e400"), "must be between 0 and"),
        (("--upfront", "5000-2000"), "--upfront 5000-2000: a range begins with the lower"),
        (("--queries", "5"), "Missing option: --price-per-query"),
        (("--queries", "5", "--price-per-query", "1"), "Missing option: --upfront. Or its parts, "
         "--data-preparation, --training"),
        ((*WORKED, "--tokens-in", "5"), "--price-per-query and --tokens-in say the same"),
        ((*WORKED, "--currency", "usd"), "--currency usd: a currency is"),
        ((*WORKED, "--plot", "plot.pdf"), "must end in .svg, .png, .html; plot.pdf does not"),
        ((*WORKED, "--plot", "/nowhere/plot.svg"), "/nowhere/plot.svg cannot be written"),
        (("--plot", "plot.svg"), "nothing to draw without costs"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*arguments)


def test_without_matplotlib_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(*WORKED, "--plot", str(tmp_path / "plot.svg"))
    assert "pip install 'tunesmith[analysis]'" in said


def test_pictures(tmp_path: Path) -> None:
    svg, again, png = (tmp_path / name for name in ("a.svg", "b.SVG", "c.png"))
    assert "The plot is in" in run(*WORKED, "--plot", str(svg)).output
    run(*WORKED, "--plot", str(again))
    run(*WORKED, "--plot", str(png))
    assert svg.read_bytes() == again.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    words = " ".join(ElementTree.fromstring(svg.read_bytes()).itertext())
    for text in ("8 months at best", "middle: 15.6", "worst: 25", "cost up front", "$10,000"):
        assert text in words, text


@pytest.mark.parametrize("cost", ["0", "1000000000000"])
def test_pictures_of_extremes(tmp_path: Path, cost: str) -> None:
    file = tmp_path / "plot.svg"
    run(
        "--queries", cost, "--price-per-query", cost, "--upfront", cost, "--monthly", cost,
        "--plot", str(file),
    )  # fmt: skip
    assert ElementTree.fromstring(file.read_bytes()).tag.endswith("svg")


def test_the_page_needs_nothing_else_and_runs_nothing(tmp_path: Path) -> None:
    prices, page = tmp_path / "prices.toml", tmp_path / "worth.html"
    prices.write_text(PRICES)
    run(
        "--queries", "10000", "--tokens-in", "4000", "--tokens-out", "2000", "--api-model", "<big>",
        "--prices", str(prices), "--upfront", "5000", "--monthly", "100", "--plot", str(page),
    )  # fmt: skip
    text = page.read_text()
    assert "<svg" in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;big&gt;" in text
    assert "<?xml" not in text
