"""Settings: which source beats which, clear errors, and a page that is current."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunesmith.platform.cli.errors import CommandFailed
from tunesmith.platform.cli.settings import read_settings
from tunesmith.platform.cli.settings_reference import page
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.settings import Settings

_PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_flags_beat_variables_which_beat_the_file_which_beats_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tunesmith.toml"
    config.write_text('port = 9001\nhost = "0.0.0.0"\nbase = "/from/file"\n')
    monkeypatch.setenv("TUNESMITH_CONFIG", str(config))
    monkeypatch.setenv("TUNESMITH_PORT", "9002")
    monkeypatch.setenv("TUNESMITH_HOST", "127.0.0.2")
    settings = read_settings(port=9003, host=None, base=None)
    assert settings.port == 9003  # flag
    assert settings.host == "127.0.0.2"  # variable
    assert settings.base == "/from/file"
    assert settings.log_level == "info"  # default


def test_the_file_of_the_flag_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CONFIG", str(tmp_path / "other.toml"))
    config = tmp_path / "tunesmith.toml"
    config.write_text("port = 9001\n")
    assert read_settings(config).port == 9001


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("port = 99999", "port: input should be less than or equal to 65535"),
        ("prot = 9000", "prot is no setting"),
        ("port = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    config = tmp_path / "tunesmith.toml"
    config.write_text(content)
    with pytest.raises(CommandFailed) as raised:
        read_settings(config)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match="no settings file"):
        read_settings(tmp_path / "absent.toml")
    assert "TUNESMITH_CONFIG" not in os.environ  # only while the settings are read


def test_the_page_is_current_and_has_every_setting() -> None:
    written = _PAGE.read_text()
    assert written == page(), "run `python -m tunesmith.platform.cli.settings_reference > docs/...`"
    for name in Settings.model_fields:
        assert f"| `{name}` | `TUNESMITH_{name.upper()}` |" in written
