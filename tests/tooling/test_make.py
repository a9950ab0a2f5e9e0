"""`make help` tells of every target."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_help_gives_every_target_a_line() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    # A make above this one would pass its own flags and targets down.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    ran = subprocess.run(
        ["make", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    told = dict(re.findall(r"^  make (\S+) +(\S.*)$", ran.stdout, re.MULTILINE))
    assert set(told) == set(targets)
    assert {"demo", "test", "up", "lint", "format", "lock", "clean", "doctor"} <= set(told)
