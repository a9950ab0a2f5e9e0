"""`tunesmith tenants`: the administrator's commands on organisations."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from .connection import Admin, AdminKey, AsJson, HomeFolder, Url
from .errors import CommandFailed
from .output import console, moment, print_fields, print_json, print_table

tenants = typer.Typer(help="Organisations that share the platform.", no_args_is_help=True)

Called = Annotated[str, typer.Argument(help="The tenant's id, name or slug.", metavar="TENANT")]
Limit = Annotated[
    str | None,
    typer.Option(metavar="N", help="A number, or `none`: the setting counts.", show_default=False),
]


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
    admin = Admin(url, admin_key, home)
    page = admin.call("GET", "/tenants")
    listed = page["data"]
    while page.get("has_more"):
        page = admin.call("GET", f"/tenants?after={listed[-1]['id']}")
        listed += page["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "created", "suspended"),
        (
            (t["id"], t["name"], moment(t["created_at"]), moment(t.get("suspended_at")))
            for t in listed
        ),
        empty="No tenants yet: `tunesmith tenants create NAME` makes one.",
    )


@tenants.command("show")
def show_tenant(
    tenant: Called,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Show a tenant, with the limits that are its own."""
    _show(find_tenant(Admin(url, admin_key, home), tenant), as_json)


@tenants.command("rename")
def rename_tenant(
    tenant: Called,
    name: Annotated[str, typer.Argument(help="The new name. Its models' names stay.")],
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Give a tenant another name."""
    _show(_change(Admin(url, admin_key, home), tenant, {"name": name}), as_json)


@tenants.command("suspend")
def suspend_tenant(
    tenant: Called,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Refuse a tenant's requests from now on; jobs that it has go on."""
    _show(_change(Admin(url, admin_key, home), tenant, {"suspended": True}), as_json)


@tenants.command("reinstate")
def reinstate_tenant(
    tenant: Called,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Take a suspended tenant's requests again."""
    _show(_change(Admin(url, admin_key, home), tenant, {"suspended": False}), as_json)


@tenants.command("limits")
def limit_tenant(
    tenant: Called,
    requests_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    concurrent_requests: Limit = None,
    queued_jobs: Limit = None,
    running_jobs: Limit = None,
    stored_bytes: Limit = None,
    adapters: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Give a tenant limits of its own, or take them away; without options, show them."""
    given = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
        "queued_jobs": queued_jobs,
        "running_jobs": running_jobs,
        "stored_bytes": stored_bytes,
        "adapters": adapters,
    }
    limits = read_limits(given)
    admin = Admin(url, admin_key, home)
    found = _change(admin, tenant, {"limits": limits}) if limits else find_tenant(admin, tenant)
    if as_json:
        print_json(found["limits"])
        return
    print_fields({name: limit or "the setting's" for name, limit in found["limits"].items()})


def read_limits(given: dict[str, str | None]) -> dict[str, int | None]:
    """The limits that were given, as the API takes them.

    Raises:
        CommandFailed: one is neither a number from 1 on nor `none`.
    """
    limits: dict[str, int | None] = {}
    for name, text in given.items():
        if text is None:
            continue
        if text == "none":
            limits[name] = None
        elif text.isascii() and text.isdigit() and int(text) >= 1:
            limits[name] = int(text)
        else:
            flag = "--" + name.replace("_", "-")
            raise CommandFailed(f"{flag} is a whole number from 1 on, or `none`; not {text!r}.")
    return limits


def find_tenant(admin: Admin, called: str) -> dict[str, Any]:
    """The tenant of this id, else of this name, else of this slug.

    Raises:
        CommandFailed: there is none.
    """
    listed = admin.call("GET", f"/tenants?name={quote(called, safe='')}")["data"]
    for kind in ("id", "name", "slug"):
        for tenant in listed:
            if tenant.get(kind) == called:
                return dict(tenant)
    raise CommandFailed(f"There is no tenant {called!r}; `tunesmith tenants list` lists them.")


def _change(admin: Admin, called: str, changes: dict[str, Any]) -> dict[str, Any]:
    return admin.call("PATCH", f"/tenants/{find_tenant(admin, called)['id']}", changes)


def _show(tenant: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(tenant)
        return
    print_fields(
        {
            "tenant": tenant["id"],
            "name": tenant["name"],
            "slug": tenant.get("slug"),
            "created": moment(tenant["created_at"]),
            "suspended": moment(tenant.get("suspended_at")),
            "limits": {n: v for n, v in tenant.get("limits", {}).items() if v is not None},
        }
    )
