"""`tunesmith aliases` and `tunesmith policy`: which model your requests get, by which bar."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed
from .output import console, moment, print_fields, print_json, print_table

app = typer.Typer(help="Names of your own for models; promote, split, roll back.")

Name = Annotated[str, typer.Argument(help="The alias's name, as support-bot.")]
Evaluation = Annotated[
    str | None,
    typer.Option(help="Evaluation to go by, evalrun_...; else the model's latest completed one."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Pass the gate even where it does not hold; with --reason.")
]
Reason = Annotated[str | None, typer.Option(help="Why; the alias's history keeps it.")]
_PAGE = 100


@app.command("create")
def create_alias(
    name: Name,
    model: Annotated[str, typer.Argument(help="A base, or one of your models.")],
    evaluation: Evaluation = None,
    force: Force = False,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Make an alias; on a tuned model the promotion gate applies."""
    body = {"name": name} | _move(model, evaluation, reason, force=force)
    _show(Tenant(url, api_key, home).call("POST", "/aliases", body), as_json=as_json)


@app.command("list")
def list_aliases(
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 100,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your aliases, newest first."""
    listed = list(_pages(Tenant(url, api_key, home), "/aliases", limit))
    if as_json:
        print_json(listed)
        return
    print_table(
        ("alias", "model", "candidate", "share", "revision", "changed"),
        (
            (
                a["name"],
                a["model"],
                a["candidate"],
                _share(a),
                a["revision"],
                moment(a["updated_at"]),
            )
            for a in listed
        ),
        empty="No aliases yet: `tunesmith aliases create NAME MODEL` makes one.",
    )


@app.command("get")
def get_alias(
    name: Name,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show where an alias points."""
    _show(Tenant(url, api_key, home).call("GET", _path(name)), as_json=as_json)


@app.command("promote")
def promote(
    name: Name,
    model: Annotated[str, typer.Argument(help="The model to point at.")],
    evaluation: Evaluation = None,
    force: Force = False,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Point an alias at a model that passes the gate; a split ends."""
    body = _move(model, evaluation, reason, force=force)
    answer = Tenant(url, api_key, home).call("POST", f"{_path(name)}/promote", body)
    _show(answer, as_json=as_json)


@app.command("split")
def split(
    name: Name,
    candidate: Annotated[
        str | None, typer.Argument(help="The model to try; none with --end.", show_default=False)
    ] = None,
    share: Annotated[
        float, typer.Option(help="Share of the requests that it gets: 0.1 for 10 %.")
    ] = 0.1,
    end: Annotated[bool, typer.Option("--end", help="End the split instead.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Try a candidate on a share of the requests; the same user always gets the same model."""
    if end is (candidate is not None):
        raise CommandFailed("Name the candidate to try, or end the split with --end; one of both.")
    body = {"share": 0.0} if end else {"candidate": candidate, "share": share}
    answer = Tenant(url, api_key, home).call("POST", f"{_path(name)}/split", body | _why(reason))
    _show(answer, as_json=as_json)


@app.command("rollback")
def roll_back(
    name: Name,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Undo the last change of where the requests go; again to go further back."""
    answer = Tenant(url, api_key, home).call("POST", f"{_path(name)}/rollback", _why(reason))
    _show(answer, as_json=as_json)


@app.command("history")
def history(
    name: Name,
    limit: Annotated[int, typer.Option(help="How many revisions at most.", min=1)] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List what an alias pointed at, newest first: who changed it, when and why."""
    listed = list(_pages(Tenant(url, api_key, home), f"{_path(name)}/history", limit))
    if as_json:
        print_json(listed)
        return
    print_table(
        ("revision", "action", "model", "candidate", "share", "by", "when", "why"),
        (
            (
                r["revision"],
                f"{r['action']} (forced)" if r["forced"] else r["action"],
                r["model"],
                r["candidate"],
                _share(r),
                r["key_id"],
                moment(r["created_at"]),
                r["reason"] or r["evaluation"],
            )
            for r in listed
        ),
        empty="No revisions.",
    )


@app.command("delete")
def delete_alias(
    name: Name,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Delete an alias; its models stay."""
    answer = Tenant(url, api_key, home).call("DELETE", _path(name))
    print_json(answer) if as_json else console().print(f"{name} is deleted.", markup=False)


def policy(
    bar: Annotated[
        float | None,
        typer.Option(help="Least relative improvement: 0.2 for 20 %.", show_default=False),
    ] = None,
    forgetting: Annotated[
        float | None,
        typer.Option(
            help="Most that may be lost of the general probes: 0.2 for 20 points of 100.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show what a model must show before an alias moves to it; with options, change it."""
    asked = {"minimum_relative_improvement": bar, "maximum_forgetting": forgetting}
    body = {name: value for name, value in asked.items() if value is not None}
    tenant = Tenant(url, api_key, home)
    found = tenant.call("POST", "/policy", body) if body else tenant.call("GET", "/policy")
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "least relative improvement": _percent(found["minimum_relative_improvement"]),
            "most forgetting": _percent(found["maximum_forgetting"]),
        }
    )


def _path(name: str) -> str:
    return f"/aliases/{quote(name, safe='')}"


def _move(model: str, evaluation: str | None, reason: str | None, *, force: bool) -> dict[str, Any]:
    named = {"evaluation": evaluation} if evaluation else {}
    return {"model": model, "force": force} | named | _why(reason)


def _why(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"reason": reason}


def _pages(tenant: Tenant, path: str, limit: int) -> Iterator[dict[str, Any]]:
    after = ""
    while limit > 0:
        page = tenant.call("GET", f"{path}?limit={min(limit, _PAGE)}{after}")
        yield from page["data"]
        if not page["has_more"]:
            return
        limit -= len(page["data"])
        after = f"&after={quote(page['data'][-1]['id'], safe='')}"


def _show(alias: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(alias)
        return
    fields = {name: alias[name] for name in ("name", "model", "candidate", "revision")}
    print_fields(fields | {"share": _share(alias), "changed": moment(alias["updated_at"])})


def _share(of: Mapping[str, Any]) -> str:
    return "" if of["candidate"] is None else _percent(of["share"])


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
