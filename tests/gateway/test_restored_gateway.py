"""A gateway on a restored stack: keys, models and jobs of before, by the commands of operators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, error_of
from typer.testing import CliRunner

from tunesmith.platform.cli import app
from tunesmith.platform.storage.adapters import CONFIG, WEIGHTS


def command(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def stores(home: Path) -> list[str]:
    return ["--home", str(home)]


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code != 0
    return str(done.exception)


def test_the_keys_models_and_jobs_of_before_are_there(
    make_gateway: MakeGateway, engine: FakeEngine, tmp_path: Path
) -> None:
    before: Gateway = make_gateway()
    acme = before.tenant("Acme")
    model, digest = before.train(acme)
    engine.adapters.add(digest)
    waiting = acme.client.fine_tuning.jobs.create(model="pocket", training_file=acme.upload())
    revoked = before.tenant("Gone")
    before.admin.patch(f"/v1/tenants/{revoked.id}", json={"suspended": True})

    place = str(tmp_path / "backups")
    made = json.loads(command("backup", place, *stores(before.settings.home), "--json"))
    assert made["database"]["rows"]["tenants"] == 2
    assert made["id"] in command("backup", place, "--list")
    command("restore", place, "--check")
    assert "tenants" in refused("restore", place, *stores(before.settings.home))

    home = tmp_path / "home-1"  # of the next gateway that is made
    assert "TUNESMITH_ADMIN_KEY" in command("restore", place, *stores(home))
    after: Gateway = make_gateway()
    assert after.settings.home == home
    http = after.anonymous(acme.key)
    assert model in [found["id"] for found in http.get("/v1/models").json()["data"]]
    jobs = {job["id"]: job for job in http.get("/v1/fine_tuning/jobs").json()["data"]}
    assert jobs[waiting.id]["status"] == "validating_files"
    assert len(jobs) == 2
    answer = http.post(
        "/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "hi"}]},
    )
    assert answer.status_code == 200
    assert error_of(after.anonymous(revoked.key).get("/v1/models"))["code"] == "tenant_suspended"
    for name in (WEIGHTS, CONFIG):
        key = f"adapters/{digest}/{name}"
        assert after.storage.get(key) == before.storage.get(key)


def test_what_storage_has_lost_is_said_and_fails_the_command(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway: Gateway = make_gateway()
    _, digest = gateway.train(gateway.tenant())
    gateway.storage.delete(f"adapters/{digest}/{WEIGHTS}")
    place = str(tmp_path / "backups")
    home = stores(gateway.settings.home)
    assert f"adapters/{digest}/{WEIGHTS}" in refused("backup", place, *home)
    assert len(json.loads(command("backup", place, "--list", "--json"))) == 1  # kept all the same


def test_a_running_platform_of_this_home_is_in_the_way(tmp_path: Path) -> None:
    from tunesmith.platform.supervisor.home import Home

    folder = Home(tmp_path / "home")
    folder.prepare()
    with folder.locked(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunesmith.platform.backup.archive.Archive.manifest", lambda *_: None)
        assert "Another platform" in refused(
            "restore", str(tmp_path / "b"), *stores(tmp_path / "home")
        )
