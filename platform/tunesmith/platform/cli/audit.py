"""`tunesmith audit`: who did what to tenants, keys, limits and settings."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlencode

import typer

from .connection import Admin, AdminKey, ApiKey, AsJson, HomeFolder, Tenant, Url
from .keys import read_duration
from .output import moment, print_json, print_table


def audit(
    tenant: Annotated[
        str | None, typer.Option(help="Only of this tenant: id, name or slug.", show_default=False)
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="Of your own tenant, with its key of the scope admin.")
    ] = False,
    action: Annotated[
        list[str] | None,
        typer.Option(help="Only such acts, as api_key.created.", show_default=False),
    ] = None,
    actor: Annotated[
        list[str] | None, typer.Option(help="Only of these keys, by id.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only of the last 7d, 12h, 30m.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, 1 to 10000.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List the acts of administration, newest first."""
    wanted: list[tuple[str, str | int]] = [("limit", limit)]
    if tenant is not None:
        wanted.append(("tenant", tenant))
    wanted += [("event_types[]", one) for one in action or ()]
    wanted += [("actor_ids[]", one) for one in actor or ()]
    if since is not None:
        wanted.append(("effective_at[gte]", int(time.time()) - read_duration("--since", since)))
    by = Tenant(url, api_key, home) if own else Admin(url, admin_key, home)
    listed = by.call("GET", f"/organization/audit_logs?{urlencode(wanted)}")["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("time", "act", "target", "tenant", "by", "what"),
        (
            (
                moment(act["effective_at"]),
                act["type"],
                act["target"],
                act["tenant"],
                act["actor"]["id"],
                act["detail"],
            )
            for act in listed
        ),
        empty="Nothing of the kind was done yet.",
    )
