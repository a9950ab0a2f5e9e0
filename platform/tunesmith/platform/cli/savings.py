"""`tunesmith savings`: what the tuned models have saved so far."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from tunesmith.platform.advice.sentences import money

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import one_sentence
from .output import console, print_json, print_table

_PRICE = "The API's price, in one way"


def _amount(text: str, panel: str | None = None) -> Any:
    return typer.Option(min=0, help=text, rich_help_panel=panel, show_default=False)


def savings(
    price_per_query: Annotated[float | None, _amount("Price of a query.", _PRICE)] = None,
    input_price: Annotated[
        float | None, _amount("Or: price of a million tokens of prompts,", _PRICE)
    ] = None,
    output_price: Annotated[
        float | None, _amount("and of a million tokens of answers.", _PRICE)
    ] = None,
    api_model: Annotated[
        str | None,
        typer.Option(
            help="Or: a model of the platform's prices file.",
            rich_help_panel=_PRICE,
            show_default=False,
        ),
    ] = None,
    upfront: Annotated[float | None, _amount("What was paid once: data and training.")] = None,
    monthly: Annotated[float | None, _amount("What serving here costs a month.")] = None,
    currency: Annotated[str | None, typer.Option(help="As EUR; else the price's, or USD.")] = None,
    since: Annotated[
        str | None, typer.Option(help="First day, as 2026-01-31; else that of the first request.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day; else today.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show what your tuned models have saved so far against an API's price."""
    asked = {
        "price_per_query": price_per_query,
        "input_price_per_million": input_price,
        "output_price_per_million": output_price,
        "api_model": api_model,
        "upfront_cost": upfront,
        "monthly_cost": monthly,
        "currency": currency,
        "since": since,
        "until": until,
    }
    options = {"params": {name: value for name, value in asked.items() if value is not None}}
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        found = cast(
            "dict[str, Any]",
            tenant.client().get("/savings", cast_to=object, options=cast("Any", options)),
        )
    if as_json:
        print_json(found)
        return
    for sentence in found["summary"]:
        console().print(sentence, markup=False)
    if found["models"]:
        console().print()
        print_table(
            ("model", "alias", "requests", "prompt tokens", "answer tokens", "on the API"),
            (
                (
                    model["model"],
                    model["alias"],
                    f"{model['requests']:,}",
                    f"{model['prompt_tokens']:,}",
                    f"{model['completion_tokens']:,}",
                    money(model["api_cost"], found["currency"]),
                )
                for model in found["models"]
            ),
            empty="",
        )
