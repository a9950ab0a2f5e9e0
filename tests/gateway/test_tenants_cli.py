"""`tunesmith tenants`, `keys` and `audit`, against the gateway itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.gateways import ADMIN_KEY, Gateway, Tenant
from typer.testing import CliRunner

from tunesmith.platform.cli import app
from tunesmith.platform.cli.errors import CommandFailed

Run = Callable[..., Any]


@pytest.fixture
def run(sqlite_gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command as the administrator; what it prints, read as JSON."""
    monkeypatch.setenv("TUNESMITH_URL", sqlite_gateway.url)
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", ADMIN_KEY)
    for name in ("TUNESMITH_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str) -> Any:
        result = CliRunner().invoke(app, [*words, "--json"])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return command


@pytest.fixture
def tenant(sqlite_gateway: Gateway) -> Tenant:
    return sqlite_gateway.tenant()


def test_a_tenant_is_shown_renamed_limited_and_suspended(run: Run, tenant: Tenant) -> None:
    shown = run("tenants", "show", tenant.id)
    assert run("tenants", "show", shown["slug"]) == run("tenants", "show", shown["name"]) == shown
    limits = run("tenants", "limits", tenant.id, "--adapters", "3", "--queued-jobs", "9")
    assert (limits["adapters"], limits["queued_jobs"]) == (3, 9)
    limits = run("tenants", "limits", tenant.id, "--adapters", "none")
    assert limits == run("tenants", "limits", tenant.id)
    assert (limits["adapters"], limits["queued_jobs"]) == (None, 9)
    assert run("tenants", "suspend", tenant.id)["suspended_at"] is not None
    assert tenant.http.get("/v1/models").status_code == 403
    assert run("tenants", "reinstate", tenant.id)["suspended_at"] is None
    assert run("tenants", "rename", tenant.id, f"New {tenant.id}")["name"] == f"New {tenant.id}"
    assert tenant.id in {one["id"] for one in run("tenants", "list")}
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(CommandFailed, match="--adapters"):
            run("tenants", "limits", tenant.id, f"--adapters={wrong}")


def test_keys_are_the_administrators_and_the_tenants_own(
    run: Run, tenant: Tenant, sqlite_gateway: Gateway
) -> None:
    made = run(
        "keys",
        "create",
        "ci",
        "--tenant",
        tenant.id,
        "--scope",
        "inference",
        "--scope",
        "training",
        "--expires-in",
        "90d",
        "--requests-per-minute",
        "60",
    )
    assert made["scopes"] == ["inference", "training"]
    assert made["limits"]["requests_per_minute"] == 60
    assert made["expires_at"] - made["created_at"] in range(90 * 86400 - 2, 90 * 86400 + 3)
    own = ("--api-key", tenant.key)
    assert made["id"] in {key["id"] for key in run("keys", "list", *own)}
    new = run("keys", "rotate", made["id"], "--overlap", "0", *own)
    assert sqlite_gateway.anonymous(made["key"]).get("/v1/models").status_code == 401
    assert sqlite_gateway.anonymous(new["key"]).get("/v1/models").status_code == 200
    assert run("keys", "revoke", new["id"], "--tenant", tenant.id)["revoked_at"] is not None
    with pytest.raises(CommandFailed, match="lacks the scope `admin`"):
        run("keys", "list", "--api-key", run("keys", "create", "--scope", "inference", *own)["key"])
    with pytest.raises(CommandFailed, match="--overlap is a time"):
        run("keys", "rotate", made["id"], "--overlap", "soon", *own)


def test_the_audit_log_is_the_administrators_and_the_tenants_own(run: Run, tenant: Tenant) -> None:
    key = run("keys", "create", "--tenant", tenant.id)
    acts = run("audit", "--tenant", tenant.id, "--since", "1h")
    assert [act["type"] for act in acts] == ["api_key.created"] * 2 + ["tenant.created"]
    assert acts[0]["target"] == key["id"]
    assert run("audit", "--own", "--api-key", tenant.key) == acts
    assert run("audit", "--tenant", tenant.id, "--action", "tenant.created") == acts[2:]
    assert run("audit", "--tenant", tenant.id, "--actor", "key_nobody") == []
    table = CliRunner().invoke(app, ["audit", "--tenant", tenant.id])
    assert table.exit_code == 0
    assert "tenant.created" in table.stdout
