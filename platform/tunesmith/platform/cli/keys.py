"""`tunesmith keys`: a tenant's keys, for the administrator or for the tenant's own admin."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from .connection import Admin, AdminKey, ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed
from .output import console, moment, print_fields, print_json, print_table
from .tenants import Limit, find_tenant, read_limits

keys = typer.Typer(help="A tenant's API keys.", no_args_is_help=True)

OfTenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        help="The tenant's id, name or slug, for the administrator; else the tenant of your key.",
        show_default=False,
    ),
]
KeyId = Annotated[str, typer.Argument(help="The key's id, from `tunesmith keys list`.")]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)


class _Keys:
    """The keys that are meant: of a tenant that the administrator names, or one's own."""

    def __init__(
        self,
        tenant: str | None,
        *,
        url: str | None,
        admin_key: str | None,
        api_key: str | None,
        home: Path | None,
    ) -> None:
        self._by: Admin | Tenant
        if tenant is None:
            self._by, self._path = Tenant(url, api_key, home), "/organization/api_keys"
        else:
            self._by = admin = Admin(url, admin_key, home)
            self._path = f"/tenants/{find_tenant(admin, tenant)['id']}/keys"

    def call(
        self, method: str, path: str = "", body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return self._by.call(method, self._path + path, body)

    def one(self, key_id: str) -> str:
        return "/" + quote(key_id, safe="")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "default",
    tenant: OfTenant = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="inference, training or admin; may be repeated. Without it: all.",
            show_default=False,
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it opens: 90d, 12h, 30m.", show_default=False),
    ] = None,
    requests_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    concurrent_requests: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Make another key; it is shown once."""
    body: dict[str, Any] = {"name": name}
    if scope:
        body["scopes"] = scope
    if expires_in is not None:
        body["expires_in"] = read_duration("--expires-in", expires_in)
    limits = read_limits(
        {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "concurrent_requests": concurrent_requests,
        }
    )
    if limits:
        body["limits"] = limits
    of = _Keys(tenant, url=url, admin_key=admin_key, api_key=api_key, home=home)
    _show_new(of.call("POST", body=body), as_json)


@keys.command("list")
def list_keys(
    tenant: OfTenant = None,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List a tenant's keys; what they begin and end with, never the keys."""
    of = _Keys(tenant, url=url, admin_key=admin_key, api_key=api_key, home=home)
    page = of.call("GET", "?limit=1000")
    listed = page["data"]
    while page.get("has_more"):
        page = of.call("GET", f"?limit=1000&after={listed[-1]['id']}")
        listed += page["data"]
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "name", "key", "scopes", "created", "expires", "revoked"),
        (
            (
                k["id"],
                k["name"],
                k.get("hint"),
                k.get("scopes"),
                moment(k["created_at"]),
                moment(k.get("expires_at")),
                moment(k.get("revoked_at")),
            )
            for k in listed
        ),
        empty="This tenant has no keys.",
    )


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    tenant: OfTenant = None,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old key still opens: 24h, 30m, 0.")
    ] = "24h",
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Make a key in place of another, of the same scopes and limits; it is shown once."""
    seconds = read_duration("--overlap", overlap)
    of = _Keys(tenant, url=url, admin_key=admin_key, api_key=api_key, home=home)
    body = {"overlap_seconds": seconds}
    _show_new(of.call("POST", f"{of.one(key_id)}/rotate", body), as_json)


@keys.command("revoke")
def revoke_key(
    key_id: KeyId,
    tenant: OfTenant = None,
    as_json: AsJson = False,
    url: Url = None,
    admin_key: AdminKey = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Revoke a key: requests with it get 401 from now on."""
    of = _Keys(tenant, url=url, admin_key=admin_key, api_key=api_key, home=home)
    answer = of.call("DELETE", of.one(key_id))
    if as_json:
        print_json(answer)
        return
    console().print(f"{key_id} is revoked.")


def read_duration(flag: str, text: str) -> int:
    """Seconds of `90d`, `12h`, `30m`, `45s` or `45`.

    Raises:
        CommandFailed: it is none of these.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise CommandFailed(f"{flag} is a time as 90d, 12h, 30m or 45s; not {text!r}.")
    return int(found[1]) * _UNITS[found[2] or "s"]


def _show_new(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    print_fields(
        {
            "tenant": key.get("tenant"),
            "key id": key.get("id"),
            "scopes": key.get("scopes"),
            "expires": moment(key.get("expires_at")),
            "key": key["key"],
        }
    )
    console().print("The key is shown only now.", style="dim")
