"""`tunesmith models`: what requests can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .output import console, moment, plain, print_fields, print_json, print_table

if TYPE_CHECKING:
    from openai import OpenAI

app = typer.Typer(help="Base models and your tuned ones.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The model's name, as `models list` shows it.")]


@app.command("list")
def list_models(
    as_json: AsJson = False, url: Url = None, api_key: ApiKey = None, home: HomeFolder = None
) -> None:
    """List the base models and your own."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        listed = [plain(model) for model in tenant.client().models.list()]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("model", "owner", "created"),
        ((m["id"], m.get("owned_by"), moment(m.get("created"))) for m in listed),
        empty="No models yet.",
    )


@app.command("get")
def get_model(
    name: Name,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show a model."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        model = plain(tenant.client().models.retrieve(name))
    if as_json:
        print_json(model)
        return
    print_fields({**model, "created": moment(model.get("created"))})


@app.command("delete")
def delete_model(
    name: Name,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Delete one of your tuned models."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        answer = plain(tenant.client().models.delete(name))
    if as_json:
        print_json(answer)
        return
    console().print(f"{name} is deleted.")


def only_base(client: OpenAI) -> str:
    """The name of the platform's base model.

    Raises:
        CommandFailed: there are several, or none.
    """
    bases = [
        model.id
        for model in client.models.list()
        if model.owned_by == "tunesmith" and not model.id.startswith("ft:")
    ]
    if len(bases) != 1:
        known = ", ".join(bases) or "none"
        raise CommandFailed(f"Say which model with --model; base models here: {known}.")
    return bases[0]
