"""Where a command looks for the platform and for its key, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.platform.cli.connection import DEFAULT_URL, Admin, Tenant, find_url
from tunesmith.platform.cli.errors import CommandFailed
from tunesmith.platform.supervisor.home import Home, write_json

from .conftest import Run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_urls_in_the_order_of_their_strength(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_url(None, home) == DEFAULT_URL
    write_json(home.platform_file, {"url": "http://127.0.0.1:8123"})
    assert find_url(None, home) == "http://127.0.0.1:8123"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://openai:1/v1")
    assert find_url(None, home) == "http://openai:1"
    monkeypatch.setenv("TUNESMITH_URL", "http://tunesmith:2/v1/")
    assert find_url(None, home) == "http://tunesmith:2"
    assert find_url("http://flag:3", home) == "http://flag:3"


def test_something_that_is_no_url_is_refused(home: Home) -> None:
    with pytest.raises(CommandFailed, match="must start with http"):
        find_url("localhost:8000", home)


def test_tenant_keys_in_the_order_of_their_strength(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert Tenant(None, "sk-flag", home.path).key == "sk-flag"
    assert Tenant(None, None, home.path).key == "sk-tenant"
    monkeypatch.delenv("TUNESMITH_API_KEY")
    assert Tenant(None, None, home.path).key == "sk-openai"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(CommandFailed, match="tenants create"):
        Tenant(None, None, home.path)


def test_the_admin_key_is_found_in_the_home_that_only_its_owner_reads(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNESMITH_ADMIN_KEY")
    with pytest.raises(CommandFailed, match="No administrator's key"):
        Admin(None, None, home.path)
    home.keep_admin_key("sk-kept")
    assert home.credentials_file.stat().st_mode & 0o777 == 0o600
    assert Admin(None, None, home.path).url == DEFAULT_URL
    assert home.admin_key == "sk-kept"


def test_without_a_platform_the_error_says_how_to_start_one(run: Run) -> None:
    result = run("models", "list", "--url", "http://127.0.0.1:9")
    assert result.code == 1
    assert "No platform answers at http://127.0.0.1:9" in result.err
    assert "tunesmith up" in result.err
    assert "Traceback" not in result.err
