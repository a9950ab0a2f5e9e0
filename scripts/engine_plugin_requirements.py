"""Print requirements/engine-plugin.txt: the part of the lock that engine-plugin.in needs.

`make lock` runs it in `.venv`. Versions and hashes are the lock's.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_FOLDER = Path(__file__).resolve().parent.parent / "requirements"
_HEAD = """\
# What requirements/engine-plugin.in needs, with the lock's versions and hashes. Made by make lock.
# It is installed with --no-deps --target into `dependencies` beside the plugin's packages.
"""


def requirements() -> str:
    """The file's text."""
    blocks = _blocks((_FOLDER / "lock.txt").read_text())
    wanted = [
        Requirement(line)
        for line in (_FOLDER / "engine-plugin.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    needed: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in needed:
            needed.add(name)
            wanted += map(Requirement, distribution(name).requires or ())
    return _HEAD + "".join(blocks[name] for name in sorted(needed))


def _blocks(lock: str) -> dict[str, str]:
    """The lock's lines of each package, without the comments on who needs it."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[A-Za-z0-9][^\n]*\n(?:    --hash=[^\n]*\n)+", lock, re.MULTILINE):
        found[canonicalize_name(block.partition("==")[0])] = block
    return found


if __name__ == "__main__":
    print(requirements(), end="")
