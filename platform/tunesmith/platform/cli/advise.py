"""`tunesmith advise`: is fine-tuning worth it? Needs no server."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.platform.advice.advice import Advice
from tunesmith.platform.advice.advice import advise as find_advice
from tunesmith.platform.advice.break_even import CASES, SAVING_MONTHS
from tunesmith.platform.advice.prices import Price, configured_prices, is_currency, price_on
from tunesmith.platform.advice.recommendation import Situation
from tunesmith.platform.advice.sentences import label, money, months, summary
from tunesmith.platform.advice.span import Span, parse_span
from tunesmith.platform.domain.errors import InvalidRequest

from .connection import AsJson
from .errors import CommandFailed
from .output import console, print_json, print_table
from .settings import read_settings

_COSTS, _TASK = "Costs: each a number, or a range as 2000-5000", "The task"
_NUMBER = r"(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_SPAN = re.compile(rf"\s*({_NUMBER})(?:\s*(?:-|\.\.)\s*({_NUMBER}))?\s*")

_PRICE_FLAGS = {
    "--queries": "queries_per_month",
    "--price-per-query": "price_per_query",
    "--tokens-in": "tokens_in_per_query",
    "--tokens-out": "tokens_out_per_query",
    "--input-price": "input_price_per_million",
    "--output-price": "output_price_per_million",
    "--upfront": "upfront_cost",
    "--data-preparation": "data_preparation_cost",
    "--training": "training_cost",
    "--monthly": "monthly_cost",
}


def _cost(flag: str, text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        flag, help=text, metavar="N|LOW-HIGH", rich_help_panel=_COSTS, show_default=False
    )
    return found


def _fact(flags: str, text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        flags, help=text, rich_help_panel=_TASK, show_default=False
    )
    return found


def advise(
    queries: Annotated[str | None, _cost("--queries", "Queries a month.")] = None,
    price_per_query: Annotated[
        str | None, _cost("--price-per-query", "What a query costs on the API used today.")
    ] = None,
    tokens_in: Annotated[str | None, _cost("--tokens-in", "Or: tokens of a prompt,")] = None,
    tokens_out: Annotated[str | None, _cost("--tokens-out", "tokens of an answer,")] = None,
    input_price: Annotated[
        str | None, _cost("--input-price", "price of a million tokens of prompts,")
    ] = None,
    output_price: Annotated[
        str | None, _cost("--output-price", "price of a million tokens of answers.")
    ] = None,
    api_model: Annotated[
        str | None,
        typer.Option(
            help="Or, for both prices: a model of the prices file.",
            rich_help_panel=_COSTS,
            show_default=False,
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            help="The prices file; else TUNESMITH_PRICES_FILE.",
            rich_help_panel=_COSTS,
            show_default=False,
        ),
    ] = None,
    upfront: Annotated[
        str | None, _cost("--upfront", "What is paid once: data and training.")
    ] = None,
    data_preparation: Annotated[
        str | None, _cost("--data-preparation", "Or in parts: preparing the data,")
    ] = None,
    training: Annotated[str | None, _cost("--training", "and training.")] = None,
    monthly: Annotated[
        str | None, _cost("--monthly", "What serving the tuned model costs a month.")
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option(help="As EUR; else the price's, or USD.", rich_help_panel=_COSTS),
    ] = None,
    examples: Annotated[
        int | None, typer.Option(help="Good examples that there are.", min=0, rich_help_panel=_TASK)
    ] = None,
    repetitive: Annotated[
        bool | None,
        _fact("--repetitive/--not-repetitive", "The same kind of request comes again and again."),
    ] = None,
    prompting: Annotated[
        bool | None,
        _fact("--prompting-enough/--prompting-not-enough", "A good prompt does it well enough."),
    ] = None,
    stronger: Annotated[
        bool | None,
        _fact(
            "--stronger-model-enough/--stronger-model-not-enough",
            "A stronger model, prompted, does it well enough at a price you accept.",
        ),
    ] = None,
    novel: Annotated[
        bool | None,
        _fact("--novel/--not-novel", "Each request is new: past answers do not show the right."),
    ] = None,
    one_off: Annotated[
        bool | None, _fact("--one-off/--ongoing", "It is done once or a few times.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it: a file .svg, .png or .html.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether fine-tuning is worth it: break-even, savings, what matters, and why."""
    texts = (
        queries, price_per_query, tokens_in, tokens_out, input_price, output_price,
        upfront, data_preparation, training, monthly,
    )  # fmt: skip
    given = {
        name: _span(flag, text)
        for (flag, name), text in zip(_PRICE_FLAGS.items(), texts, strict=True)
        if text is not None
    }
    if currency is not None and not is_currency(currency):
        raise CommandFailed(f"--currency {currency}: a currency is three capital letters, as USD.")
    price = None if api_model is None else _price(api_model, prices)
    situation = Situation(examples, repetitive, prompting, stronger, novel, one_off)
    try:
        advice = find_advice(given, situation, currency=currency, price=price)
    except InvalidRequest as error:
        raise CommandFailed(_in_flags(error.message)) from error
    if plot is not None:
        _draw(advice, plot)
    if as_json:
        print_json(advice.as_json())
        return
    _show(advice)
    if plot is not None:
        console().print(f"\nThe plot is in {plot}.")


def _span(flag: str, text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise CommandFailed(
            f"{flag} {text}: give a number, as 0.03 or 10000, or a range, as 2000-5000."
        )
    low, high = found.groups()
    try:
        return parse_span(float(low) if high is None else [float(low), float(high)])
    except ValueError as error:
        raise CommandFailed(f"{flag} {text}: {error}.") from error


def _in_flags(message: str) -> str:
    """A message about inputs as the API names them, with the flags in their place."""
    for flag, name in (*_PRICE_FLAGS.items(), ("--api-model", "api_model")):
        message = message.replace(f"`{name}`", flag)
    return message.replace("required parameter", "option")


def _price(model: str, prices: Path | None) -> Price:
    path = prices if prices is not None else read_settings().prices_file
    return price_on(configured_prices(path), model, datetime.now(UTC).date())


def _draw(advice: Advice, path: Path) -> None:
    from tunesmith.platform.advice import plot

    if advice.worth is None:
        raise CommandFailed("There is nothing to draw without costs: give --queries and prices.")
    try:
        plot.write_plot(advice, path)
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"Plots need {error.name}, which is not installed: pip install 'tunesmith[analysis]'."
        ) from error
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error


def _show(advice: Advice) -> None:
    out = console()
    found = advice.recommendation
    out.print(found.summary, style="bold", markup=False)
    marks = {"for": "+", "against": "-", "caution": "!"}
    for reason in found.reasons:
        out.print(f"  {marks[reason.side]} {reason.text}", markup=False)
    if advice.worth is not None:
        out.print()
        for sentence in summary(advice.worth, advice.currency):
            out.print(sentence, markup=False)
        out.print()
        _tables(advice)
    if advice.price is not None:
        price = advice.price
        out.print(
            f"\nPrice of {price.model}: as of {price.as_of}, from {price.source}.", markup=False
        )
    if found.questions:
        out.print("\nWhat is not known yet:", style="bold")
        for question in found.questions:
            out.print(f"  ? {question}", markup=False)


def _tables(advice: Advice) -> None:
    worth, currency = advice.worth, advice.currency
    assert worth is not None
    print_table(
        ("", "break-even", *(f"saved after {after} months" for after in SAVING_MONTHS)),
        (
            (
                case,
                _months(worth.cases[case].break_even_months),
                *(money(worth.cases[case].saved_after(n), currency) for n in SAVING_MONTHS),
            )
            for case in CASES
        ),
        empty="",
    )
    console().print("\nWhat matters, each alone 20 % lower and higher (middle case):")
    print_table(
        ("input", "break-even", "saved after 12 months"),
        (
            (
                label(item.input),
                f"{_months(item.break_even_lower)} / {_months(item.break_even_higher)}",
                f"{money(item.saving_lower, currency)} / {money(item.saving_higher, currency)}",
            )
            for item in worth.sensitivity
        ),
        empty="",
    )


def _months(count: float | None) -> str:
    return "never" if count is None else f"{months(count)} months"
