"""`tunesmith webhooks`: be told of what ends instead of asking for it."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .output import console, moment, print_fields, print_json, print_table

app = typer.Typer(
    help="Have a server of yours told of jobs, evaluations and batches that end.",
    no_args_is_help=True,
)

Endpoint = Annotated[str, typer.Argument(help="The endpoint's id: we_...", show_default=False)]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]


@app.command("create")
def create(
    address: Annotated[
        str, typer.Argument(metavar="URL", help="An https URL that takes POST requests.")
    ],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event", help="An event to be told of; may be repeated. All, where none is given."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="A name for people.")] = "webhook",
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Add an endpoint, and print the secret that signs what it gets: it is shown this once."""
    tenant = Tenant(url, api_key, home)
    wanted = events or tenant.call("GET", "/webhook_event_types")["data"]
    body = {"name": name, "url": address, "event_types": wanted}
    made = tenant.call("POST", "/webhook_endpoints", body)
    if as_json:
        print_json(made)
        return
    print_fields(_fields(made) | {"secret": made["signing_secret"]})
    console().print("Keep the secret: it is not shown again.", markup=False)


@app.command("list")
def list_endpoints(
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your endpoints, newest first."""
    listed = Tenant(url, api_key, home).call("GET", f"/webhook_endpoints?limit={limit}")["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "url", "events", "status"),
        ((e["id"], e["name"], e["url"], ", ".join(e["event_types"]), e["status"]) for e in listed),
        empty="No endpoints yet: `tunesmith webhooks create URL` makes one.",
    )


@app.command("delete")
def delete(
    endpoint: Endpoint,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Delete an endpoint; what was not sent yet is not sent."""
    answer = Tenant(url, api_key, home).call("DELETE", _path(endpoint))
    print_json(answer) if as_json else console().print(f"{endpoint} is deleted.", markup=False)


@app.command("deliveries")
def deliveries(
    endpoint: Endpoint,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List what was sent to an endpoint, or will be, newest first."""
    path = f"{_path(endpoint)}/deliveries?limit={limit}"
    listed = Tenant(url, api_key, home).call("GET", path)["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("event", "of", "status", "tries", "answer", "next try", "when", "why"),
        (
            (
                d["event_type"],
                d["object_id"],
                d["status"],
                d["attempts"],
                d["last_status_code"],
                moment(d["next_attempt_at"]),
                moment(d["created_at"]),
                d["last_error"],
            )
            for d in listed
        ),
        empty="Nothing was sent yet: `tunesmith webhooks test ID` sends a sample.",
    )


@app.command("test")
def send_test(
    endpoint: Endpoint,
    event: Annotated[
        str | None, typer.Option(help="The event; else the endpoint's first.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Send a sample event to an endpoint now, and say what it answered."""
    body = {} if event is None else {"event_type": event}
    answer = Tenant(url, api_key, home).call("POST", f"{_path(endpoint)}/test", body)
    if as_json:
        print_json(answer)
        return
    console().print(
        f"{answer['event_type']} was sent; the endpoint answered {answer['status_code']}.",
        markup=False,
    )


def _path(endpoint: str) -> str:
    return f"/webhook_endpoints/{quote(endpoint, safe='')}"


def _fields(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": endpoint["id"],
        "name": endpoint["name"],
        "url": endpoint["url"],
        "events": ", ".join(endpoint["event_types"]),
    }
