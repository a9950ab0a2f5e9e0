"""`tunesmith usage`: what was used, and what it costs."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from tunesmith.platform.advice.sentences import money

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .output import console, print_json, print_table

_TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "training_tokens")


def usage(
    by: Annotated[
        str, typer.Option(help="Lines by: day, model, alias, key, with commas.")
    ] = "model",
    since: Annotated[
        str | None, typer.Option(help="First day, as 2026-01-31; else 30 days ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day; else today.")] = None,
    key_id: Annotated[str | None, typer.Option(help="Only of this key.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write CSV to this file ('-': print it).", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show what your organization used, by day, model, alias or key, and what it costs."""
    asked = {"start": since, "end": until, "key_id": key_id, "group_by": by}
    params = {name: value for name, value in asked.items() if value is not None}
    tenant = Tenant(url, api_key, home)
    if csv is not None:
        _save(str(_get(tenant, params | {"format": "csv"}, str)), csv)
        return
    found: dict[str, Any] = _get(tenant, params, object)
    if as_json:
        print_json(found)
        return
    currency = found["currency"]
    names = found["group_by"]
    print_table(
        (*names, "requests", *(name.replace("_", " ") for name in _TOKENS), "cost"),
        (
            (
                *(line[name] for name in names),
                f"{line['requests']:,}",
                *(f"{line[name]:,}" for name in _TOKENS),
                _cost(line["cost"], currency),
            )
            for line in found["data"]
        ),
        empty=f"Nothing was used from {found['start']} to {found['end']}.",
    )
    total = found["total"]
    if total["gib_months"]:
        stored = f"Storage: {total['gib_months']:.3f} GiB-months."
        console().print(stored, markup=False)
    if total["cost"] is not None:
        console().print(f"All together: {money(total['cost'], currency)}.", markup=False)
    if found["unpriced_models"]:
        without = ", ".join(found["unpriced_models"])
        console().print(f"Without a price, and not in it: {without}.", markup=False)


def _get(tenant: Tenant, params: dict[str, str], kind: Any) -> Any:
    options = cast("Any", {"params": params})
    with one_sentence(tenant.url):
        return tenant.client().get("/usage", cast_to=kind, options=options)


def _save(text: str, path: Path) -> None:
    if str(path) == "-":
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error


def _cost(cost: float | None, currency: str | None) -> str:
    return "" if cost is None or currency is None else money(cost, currency)
