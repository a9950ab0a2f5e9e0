"""Only the processes that need Ray get its token."""

from __future__ import annotations

from pathlib import Path

from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor.local_platform import parts


def tokens(settings: Settings) -> dict[str, str | None]:
    return {part.name: part.environment.get("RAY_AUTH_TOKEN") for part in parts(settings)}


def test_an_own_ray_listens_only_to_its_dispatcher(tmp_path: Path) -> None:
    given = tokens(Settings(home=tmp_path))
    assert given["ray"]
    assert given["ray"] == given["dispatcher"]
    assert given["engine"] is None
    assert given["gateway"] is None
    assert given["ray"] != tokens(Settings(home=tmp_path))["ray"]


def test_a_given_ray_keeps_its_own_ways(tmp_path: Path) -> None:
    given = tokens(Settings(home=tmp_path, ray_address="10.0.0.1:6379"))
    assert "ray" not in given
    assert given["dispatcher"] is None
