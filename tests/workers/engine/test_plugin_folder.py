"""The plugin as it comes into vLLM's own image: a folder on the path, and its needs apart."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import put_adapter
from tunesmith.workers.engine.adapters_here import Places

ROOT = Path(__file__).parents[3]
LIST = ROOT / "requirements" / "engine-plugin.txt"
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tunesmith`, and in `dependencies` what the list names and nothing else."""
    made = tmp_path_factory.mktemp("plugin")
    (made / "tunesmith").mkdir()
    for part in ("workers", "platform"):
        (made / "tunesmith" / part).symlink_to(ROOT / part / "tunesmith" / part)
    dependencies = made / "dependencies"
    dependencies.mkdir()
    for name in re.findall(r"^([\w.-]+)==", LIST.read_text(), re.MULTILINE):
        for file in distribution(name).files or ():
            top = dependencies / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(Path(str(distribution(name).locate_file(file.parts[0]))))
    return made


def ask(folder: Path, code: str, **environment: str) -> Any:
    """What `code` prints as JSON, in an interpreter with the folder and no site-packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-c", textwrap.dedent(code)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FETCH = """
    import json, sys
    from tunesmith.workers.engine.resolver import _adapters
    adapters = _adapters()
    answers = []
    for digest in {digests!r}:
        try:
            answers.append(str(adapters.fetch(digest)))
        except Exception as error:
            answers.append(type(error).__name__)
    adapters.sweep()
    adapters.close()
    parts = sorted(name for name in sys.modules if name in ("fsspec", "pydantic", "sqlalchemy"))
    print(json.dumps([answers, parts]))
"""


def test_the_list_is_the_locks_part_that_storage_needs() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "engine_plugin_requirements.py"))
    assert made["requirements"]() == LIST.read_text(), "run `make lock`"


def test_adapters_are_pulled_with_nothing_else_on_the_path(folder: Path, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    good, bad = put_adapter(storage, FILES), "1" * 64
    storage.put(f"adapters/{bad}/adapter_config.json", b"{}")
    storage.put(f"adapters/{bad}/adapter_model.safetensors", b"other")
    answers, loaded = ask(
        folder,
        FETCH.format(digests=[good, bad, "0" * 64, "../x"]),
        TUNESMITH_STORAGE_URL=str(tmp_path / "storage"),
        TUNESMITH_HOME=str(tmp_path / "home"),
    )
    assert answers[1:] == ["CorruptAdapter", "ObjectNotFound", "InvalidKey"]
    found = {path.name: path.read_bytes() for path in Path(answers[0]).iterdir()}
    assert found == FILES
    assert loaded == []


def test_s3_can_be_asked_with_what_the_list_has(folder: Path, tmp_path: Path) -> None:
    answers, loaded = ask(
        folder,
        FETCH.format(digests=["0" * 64]),
        TUNESMITH_STORAGE_URL="s3://bucket/prefix",
        TUNESMITH_HOME=str(tmp_path),
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        AWS_EC2_METADATA_DISABLED="true",
    )
    assert (answers, loaded) == (["StorageUnavailable"], [])


def test_a_helper_that_dies_is_started_again(folder: Path, tmp_path: Path) -> None:
    digest = put_adapter(Storage(tmp_path / "storage"), FILES)
    before, after = ask(
        folder,
        f"""
        import json
        from tunesmith.workers.engine.resolver import _adapters
        adapters = _adapters()
        paths = []
        for _ in range(2):
            paths.append(str(adapters.fetch({digest!r})))
            adapters._process.kill()
            adapters._process.wait()
        print(json.dumps(paths))
        """,
        TUNESMITH_STORAGE_URL=str(tmp_path / "storage"),
        TUNESMITH_HOME=str(tmp_path / "home"),
    )
    assert before == after


@pytest.mark.parametrize(
    "given",
    [{}, {"TUNESMITH_STORAGE_URL": "s3://b/p"}, {"TUNESMITH_HOME": ""}, {"TUNESMITH_HOME": "~/x"}],
)
def test_places_are_those_of_the_settings(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TUNESMITH_HOME", "TUNESMITH_STORAGE_URL", "TUNESMITH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert Places.of(os.environ) == Places(settings.storage_url, settings.adapter_cache)
