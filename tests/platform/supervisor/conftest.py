"""A home folder, and parts that are small Python scripts instead of the real processes."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.supervisor.home import Home
from tunesmith.platform.supervisor.part import Part

Script = Callable[..., Part]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """`script(name, source, **part)`: a part that runs `source` in the folder of the test."""

    def make(name: str, source: str, **more: Any) -> Part:
        file = tmp_path / f"{name}.py"
        file.write_text(textwrap.dedent(source))
        environment = {**os.environ, "FOLDER": str(tmp_path)}
        return Part(name, (sys.executable, str(file)), environment, **more)

    return make
