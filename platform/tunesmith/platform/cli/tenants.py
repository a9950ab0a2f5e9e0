"""`tunesmith tenants` and `tunesmith keys`: the administrator's commands."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from .connection import Admin, AdminKey, AsJson, HomeFolder, Url
from .errors import CommandFailed
from .output import console, moment, print_fields, print_json, print_table

tenants = typer.Typer(help="Organisations that share the platform.", no_args_is_help=True)
keys = typer.Typer(help="A tenant's API keys.", no_args_is_help=True)

OfTenant = Annotated[str, typer.Option("--tenant", help="The tenant's id or name.")]


@tenants.command("create")
def create_tenant(
    name: Annotated[str, typer.Argument(help="The tenant's name; part of its models' names.")],
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Make a tenant, with its first key."""
    tenant = Admin(url, admin_key, home).call("POST", "/tenants", {"name": name})
    if as_json:
        print_json(tenant)
        return
    print_fields({"tenant": tenant["id"], "name": tenant["name"], "key": tenant["key"]})
    console().print("The key is shown only now. Use it: export TUNESMITH_API_KEY=...", style="dim")


@tenants.command("list")
def list_tenants(
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """List the tenants, oldest first."""
    listed = Admin(url, admin_key, home).call("GET", "/tenants")["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "created"),
        ((t["id"], t["name"], moment(t["created_at"])) for t in listed),
        empty="No tenants yet: `tunesmith tenants create NAME` makes one.",
    )


def find_tenant(admin: Admin, id_or_name: str) -> dict[str, Any]:
    """The tenant of this id or name.

    Raises:
        CommandFailed: there is none.
    """
    for tenant in admin.call("GET", "/tenants")["data"]:
        if id_or_name in (tenant["id"], tenant["name"]):
            return dict(tenant)
    raise CommandFailed(f"There is no tenant {id_or_name!r}; `tunesmith tenants list` lists them.")


@keys.command("create")
def create_key(
    tenant: OfTenant,
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "default",
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Make another key for a tenant; it is shown once."""
    admin = Admin(url, admin_key, home)
    owner = find_tenant(admin, tenant)
    key = admin.call("POST", f"/tenants/{owner['id']}/keys", {"name": name})
    if as_json:
        print_json(key)
        return
    print_fields({"tenant": owner["id"], "key id": key.get("id"), "key": key["key"]})
    console().print("The key is shown only now.", style="dim")


@keys.command("list")
def list_keys(
    tenant: OfTenant,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """List a tenant's keys; what they begin and end with, never the keys."""
    admin = Admin(url, admin_key, home)
    listed = admin.call("GET", f"/tenants/{find_tenant(admin, tenant)['id']}/keys")["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "key", "created", "revoked"),
        (
            (
                k["id"],
                k["name"],
                k.get("hint"),
                moment(k["created_at"]),
                moment(k.get("revoked_at")),
            )
            for k in listed
        ),
        empty="This tenant has no keys.",
    )


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `tunesmith keys list`.")],
    tenant: OfTenant,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Revoke a key: requests with it get 401 from now on."""
    admin = Admin(url, admin_key, home)
    owner = find_tenant(admin, tenant)
    answer = admin.call("DELETE", f"/tenants/{owner['id']}/keys/{quote(key_id, safe='')}")
    if as_json:
        print_json(answer)
        return
    console().print(f"{key_id} is revoked.")
