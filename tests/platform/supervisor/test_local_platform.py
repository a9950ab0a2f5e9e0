"""The platform on one machine: its parts, what is refused before they start, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from tunesmith.platform.database import Database
from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor import home as home_module
from tunesmith.platform.supervisor import local_platform
from tunesmith.platform.supervisor.descendants import find
from tunesmith.platform.supervisor.errors import CannotStart, PartFailed
from tunesmith.platform.supervisor.home import Home, read_json
from tunesmith.platform.supervisor.local_platform import LocalPlatform, local_url, parts
from tunesmith.platform.supervisor.part import Part, accepts, answers
from tunesmith.platform.supervisor.ports import free_port
from tunesmith.platform.tenants import authenticate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", port=free_port())


def test_a_local_platform_has_all_parts_that_speak_to_each_other(settings: Settings) -> None:
    chosen = {part.name: part for part in parts(settings)}
    assert list(chosen) == ["base", "ray", "engine", "dispatcher", "evaluator", "gateway"]
    assert [part.command[1:] for part in chosen.values()] == [
        ("-m", "tunesmith.workers.bases"),
        ("-m", "tunesmith.workers.ray_head"),
        ("-m", "tunesmith.workers.engine"),
        ("-m", "tunesmith.workers.dispatcher"),
        ("-m", "tunesmith.workers.evaluator"),
        ("-m", "tunesmith.gateway"),
    ]
    assert chosen["dispatcher"].needs == ("base", "ray")
    assert chosen["engine"].needs == chosen["gateway"].needs == ("base",)
    secret = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")  # see test_ray_token.py
    environments = [
        {name: value for name, value in part.environment.items() if name not in secret}
        for part in chosen.values()
    ]
    assert all(environment == environments[0] for environment in environments)
    engine_port = environments[0]["TUNESMITH_ENGINE_PORT"]
    assert int(engine_port) > 0
    assert environments[0]["TUNESMITH_ENGINES"] == f"http://127.0.0.1:{engine_port}"
    judged = settings.model_copy(update={"judge_key": SecretStr("sk-judge")})
    holders = {part.name for part in parts(judged) if part.environment["TUNESMITH_JUDGE_KEY"] != ""}
    assert holders == {"evaluator"}
    host, _, port = environments[0]["TUNESMITH_RAY_ADDRESS"].partition(":")
    assert (host, port.isdigit()) == ("127.0.0.1", True)


def test_what_runs_elsewhere_is_not_started_here(settings: Settings) -> None:
    remote = settings.model_copy(
        update={"ray_address": "ray-head:6379", "engines": ["http://a:8000", "http://b:8000"]}
    )
    chosen = {part.name: part for part in parts(remote)}
    assert list(chosen) == ["base", "dispatcher", "evaluator", "gateway"]
    assert chosen["dispatcher"].needs == ("base",)
    environment = chosen["gateway"].environment
    assert environment["TUNESMITH_ENGINES"] == "http://a:8000,http://b:8000"
    assert environment["TUNESMITH_RAY_ADDRESS"] == "ray-head:6379"


def test_no_part_is_given_the_admin_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "sk-secret")
    given = Settings(home=settings.home)
    assert given.admin_key is not None
    for part in parts(given):
        assert "sk-secret" not in part.environment.values()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("gpu-box", "http://gpu-box:80"),
    ],
)
def test_the_local_url_can_be_called(host: str, url: str) -> None:
    assert local_url(host, 80) == url
    assert local_url(host, 80, tls=True) == url.replace("http", "https")


def test_a_platform_with_a_certificate_is_at_https(settings: Settings, tmp_path: Path) -> None:
    files = {"tls_certificate_file": tmp_path / "tls.crt", "tls_key_file": tmp_path / "tls.key"}
    secured = settings.model_copy(update=files)
    assert LocalPlatform(secured).url == f"https://{secured.host}:{secured.port}"
    gateway = next(part for part in parts(secured) if part.name == "gateway")
    assert gateway.environment["TUNESMITH_TLS_KEY_FILE"] == str(tmp_path / "tls.key")


def test_the_first_start_makes_the_admin_key_and_the_next_does_not(settings: Settings) -> None:
    first = LocalPlatform(settings)
    with first.prepared():
        pass
    key = first.new_admin_key
    assert key is not None
    assert first.home.admin_key == key
    assert stat.S_IMODE(first.home.credentials_file.stat().st_mode) == 0o600
    second = LocalPlatform(settings)
    with second.prepared():
        pass
    assert second.new_admin_key is None
    assert second.home.admin_key == key
    database = Database(settings.database_url)
    with database.reading() as session:
        assert authenticate(session, key).is_admin
    database.dispose()


def test_a_given_admin_key_is_kept_for_the_cli(settings: Settings) -> None:
    given = Settings(home=settings.home, port=settings.port, admin_key="sk-given")  # type: ignore[arg-type]
    platform = LocalPlatform(given)
    with platform.prepared():
        pass
    assert platform.home.admin_key == "sk-given"


def _refusal(settings: Settings) -> str:
    with pytest.raises(CannotStart) as raised, LocalPlatform(settings).prepared():
        pass
    return str(raised.value)


def test_a_port_in_use_is_refused_before_anything_is_made(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.port))
        taken.listen()
        assert f"Port {settings.port} of 127.0.0.1 is in use" in _refusal(settings)
    assert not (settings.home / "tunesmith.db").exists()


def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"host": "192.0.2.1"})
    assert "192.0.2.1 is not an address of this machine" in _refusal(elsewhere)


def test_one_platform_per_home(settings: Settings) -> None:
    with LocalPlatform(settings).prepared():
        other = settings.model_copy(update={"port": free_port()})
        assert "Another platform" in _refusal(other)
    with LocalPlatform(settings).prepared():
        pass  # the lock went with its holder


def test_a_full_disk_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "MINIMUM_FREE_BYTES", 1 << 62)
    assert "MB left" in _refusal(settings)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a folder" in _refusal(Settings(home=tmp_path / "file"))


def test_a_home_without_permission_is_refused() -> None:
    # Nobody makes folders there, not even root.
    assert "cannot be written" in _refusal(Settings(home=Path("/sys/tunesmith"), port=free_port()))


def test_every_reason_of_the_system_is_explained(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert "cannot be written (Permission denied)" in home.explain(
        PermissionError(13, "Permission denied", "/x")
    )
    assert "is full" in home.explain(OSError(28, "No space left on device"))


def test_an_unreachable_database_is_refused(settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:9/none"}
    )
    assert "database is not available" in _refusal(away)


# Running it, with small servers in the places of the real parts

_GATEWAY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _small_parts(settings: Settings) -> list[Part]:
    url = local_url(settings.host, settings.port)
    return [
        Part("base", (sys.executable, "-c", "print('found')"), os.environ, once=True),
        Part(
            "gateway",
            (sys.executable, "-c", _GATEWAY, str(settings.port)),
            os.environ,
            ready=answers(f"{url}/healthz"),
            needs=("base",),
        ),
    ]


def test_it_tells_where_it_is_while_it_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_platform, "parts", _small_parts)
    platform = LocalPlatform(settings)
    seen: list[dict[str, object]] = []

    async def body() -> None:
        await platform.wait_until_ready()
        seen.append(read_json(platform.home.platform_file))

    with platform.prepared():
        assert asyncio.run(platform.run(body)) is False
    assert seen[0]["url"] == f"http://127.0.0.1:{settings.port}"
    assert seen[0]["pid"] == os.getpid()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", str(seen[0]["dispatcher_metrics"]))
    assert not platform.home.platform_file.exists()
    assert find(platform.supervisor.run_id) == []


def test_a_part_that_never_starts_is_given_up_where_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: Settings) -> list[Part]:
        base, gateway = _small_parts(settings)
        engine = Part("engine", (sys.executable, "-c", "raise SystemExit('no GPU')"), os.environ)
        never = accepts("127.0.0.1", 9)
        return [base, gateway, Part("engine", engine.command, engine.environment, ready=never)]

    monkeypatch.setattr(local_platform, "parts", broken)
    platform = LocalPlatform(settings)

    async def body() -> None:
        await platform.wait_until_ready(give_up_after_deaths=2)

    with platform.prepared(), pytest.raises(PartFailed, match="engine does not start") as raised:
        asyncio.run(platform.run(body))
    assert "no GPU" in raised.value.log.read_text()
    assert find(platform.supervisor.run_id) == []


_UP = """
import os, sys
sys.path.insert(0, os.path.dirname({tests!r}))
import test_local_platform as small
from tunesmith.platform.supervisor import local_platform
local_platform.parts = small._small_parts
from tunesmith.platform.cli import main
sys.argv = ["tunesmith", "up", "--home", {home!r}, "--port", {port!r}]
main()
"""


@pytest.fixture
def up(settings: Settings) -> Callable[[], subprocess.Popen[str]]:
    """Start `tunesmith up` with the small parts, in a process of its own."""

    def start() -> subprocess.Popen[str]:
        source = _UP.format(tests=__file__, home=str(settings.home), port=str(settings.port))
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(
        f"{words!r} never came: {lines} {process.stderr and process.stderr.read()}"
    )


def test_up_says_when_it_is_ready_and_stops_on_ctrl_c(
    up: Callable[[], subprocess.Popen[str]], settings: Settings
) -> None:
    process = up()
    text = _read_until(process, "Ctrl-C stops everything")
    assert "Administrator's key, shown only now: sk-ts-" in text
    assert "ready in " in text
    assert f"http://127.0.0.1:{settings.port}/v1" in text
    assert f"http://127.0.0.1:{settings.port}/metrics" in text
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2  # the gateway and the warden
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Stopped.\n")
    assert not any(child.is_running() for child in children)
    log = (settings.home / "logs" / "supervisor.log").read_text().splitlines()
    assert {json.loads(line)["process"] for line in log} == {"supervisor"}


def test_a_second_up_on_the_same_home_is_refused_in_one_sentence(
    up: Callable[[], subprocess.Popen[str]], settings: Settings
) -> None:
    first = up()
    try:
        _read_until(first, "Ctrl-C stops everything")
        second = up()
        _, err = second.communicate()
        assert second.returncode == 1
        assert err.startswith(f"Error: Another platform (process {first.pid}) runs on")
        assert "Traceback" not in err
    finally:
        first.terminate()
        first.communicate()


def test_after_kill_minus_nine_the_next_up_starts(
    up: Callable[[], subprocess.Popen[str]], settings: Settings
) -> None:
    first = up()
    _read_until(first, "Ctrl-C stops everything")
    first.kill()
    first.communicate()
    second = up()
    text = _read_until(second, "Ctrl-C stops everything")
    assert "Administrator's key" not in text
    second.terminate()  # as a service's stop, or a container's
    second.communicate()
    assert second.returncode == 0
