"""Flags beat variables, which beat the file, which beats defaults; a child gets them all."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings

WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]))
SOME = WORD.filter(lambda text: text.strip() == text != "")
URL = SOME.filter(lambda text: "," not in text)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("TUNESMITH_"):
            monkeypatch.delenv(name)


def test_who_beats_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "tunesmith.toml"
    config.write_text('port = 1\nhost = "toml"\nbase = "toml"\nengines = ["http://a"]\n')
    monkeypatch.setenv("TUNESMITH_CONFIG", str(config))
    monkeypatch.setenv("TUNESMITH_PORT", "2")
    monkeypatch.setenv("TUNESMITH_HOST", "variable")
    monkeypatch.setenv("TUNESMITH_LOG_LEVEL", "")  # empty: as if it were not there
    found = Settings(port=3)
    assert (found.port, found.host, found.base) == (3, "variable", "toml")
    assert found.engines == ["http://a"]
    assert (found.log_level, found.lease_seconds) == ("info", 15.0)


@pytest.mark.parametrize("text", ["prot = 1\n", "port = 0\n", 'log_level = "loud"\n'])
def test_a_file_with_a_mistake_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "tunesmith.toml").write_text(text)
    monkeypatch.setenv("TUNESMITH_CONFIG", str(tmp_path / "tunesmith.toml"))
    with pytest.raises(ValidationError):
        Settings()


def test_a_file_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidRequest, match=r"none\.toml"):
        Settings()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    port=st.integers(1, 65535),
    base=SOME,
    base_name=st.none() | SOME,
    engines=st.lists(URL, max_size=3),
    engine_args=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=3
    ),
    admin_key=st.none() | SOME,
    lease_seconds=st.floats(0.001, 1e9),
    max_model_len=st.none() | st.integers(16, 2**31),
    level=st.sampled_from(["debug", "info", "warning", "error"]),
)
def test_a_child_gets_these_settings_whatever_else_it_inherits(
    tmp_path: Path,
    port: int,
    base: str,
    base_name: str | None,
    engines: list[str],
    engine_args: list[str],
    admin_key: str | None,
    lease_seconds: float,
    max_model_len: int | None,
    level: str,
) -> None:
    parent = Settings(
        home=tmp_path,
        port=port,
        base=base,
        base_name=base_name,
        engines=engines,
        engine_args=engine_args,
        admin_key=None if admin_key is None else SecretStr(admin_key),
        lease_seconds=lease_seconds,
        engine_max_model_len=max_model_len,
        log_level=level,  # type: ignore[arg-type]
    )
    config = tmp_path / "tunesmith.toml"
    config.write_text('base_name = "other"\nengines = ["http://other"]\nengine_args = ["--x"]\n')
    inherited = {"TUNESMITH_CONFIG": str(config), "TUNESMITH_ENGINE_MAX_MODEL_LEN": "99"}
    with patch.dict(os.environ, inherited | parent.as_environment()):
        child = Settings()
    assert child == parent
    assert child.as_environment() == parent.as_environment()


def test_places_follow_from_the_home(tmp_path: Path) -> None:
    found = Settings(home=tmp_path)
    assert found.database_url == f"sqlite:///{tmp_path}/tunesmith.db"
    assert found.storage_url == f"{tmp_path}/storage"
    assert Settings(home=Path("~/x")).home == Path.home() / "x"
    assert Settings(home=Path("x")).home == Path.cwd() / "x"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_means_the_driver_that_we_ship(scheme: str) -> None:
    found = Settings(database_url=f"{scheme}://me:hunter2@host/name")
    assert found.database_url == "postgresql+psycopg://me:hunter2@host/name"


def test_secrets_are_not_shown() -> None:
    found = Settings(
        database_url="postgresql://me:hunter2@host/name", admin_key=SecretStr("opensesame")
    )
    assert "hunter2" not in repr(found)
    assert "opensesame" not in repr(found)


def test_an_admin_key_from_a_file_loses_its_newline_and_an_empty_one_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "key\n")
    key = Settings().admin_key
    assert key is not None
    assert key.get_secret_value() == "key"
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", " \n")
    assert Settings().admin_key is None


def test_lists_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ENGINES", "http://a, http://b,")
    monkeypatch.setenv("TUNESMITH_ENGINE_ARGS", """--x 1 --config '{"a": 1}'""")
    found = Settings()
    assert found.engines == ["http://a", "http://b"]
    assert found.engine_args == ["--x", "1", "--config", '{"a": 1}']


@pytest.mark.parametrize("alone", ["tls_certificate_file", "tls_key_file"])
def test_a_certificate_without_a_key_is_refused_and_a_key_without_one(alone: str) -> None:
    (other,) = {"tls_certificate_file", "tls_key_file"} - {alone}
    with pytest.raises(ValidationError, match=f"{alone} needs {other}: the gateway serves HTTPS"):
        Settings.model_validate({alone: "/some/file"})
