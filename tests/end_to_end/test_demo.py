"""The demo as its user runs it: its bar, its figures, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tunesmith.platform.demo.tickets import LABELS

pytest.importorskip("vllm", reason="vLLM is missing: install the extra engine-cpu or engine-gpu")


# Nine minutes on a slow machine; test_evaluation.py has the same verdict of smaller data.
@pytest.mark.chaos
@pytest.mark.timeout(1860)
def test_the_demo_tunes_the_pocket_base_for_support_tickets(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("demo") / "home"
    report_file = home.with_name("report.json")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    tunesmith = Path(sys.executable).with_name("tunesmith")
    done = subprocess.run(
        [tunesmith, "demo", "--home", home, "--report", report_file],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads(report_file.read_text())
    assert report["held_out"] >= 100
    assert report["base_accuracy"] <= 0.45
    assert report["tuned_accuracy"] >= 0.90
    assert report["creation_to_first_tuned_token_s"] > 0
    assert report["seconds"]
    assert len(LABELS) >= 6
    for shown in ("curl", "from openai import OpenAI", "base_url"):
        assert shown in done.stdout
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TUNESMITH_HOME") == str(home):
                left.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    assert not left
