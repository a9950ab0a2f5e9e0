"""The part of requirements/lock.txt that an image needs, to standard output.

    python scripts/image_requirements.py gateway > requirements.txt

Images are built before anything is installed, so this uses the standard library alone: the lock's
own comments ("# via NAME") say who requires what. That is a superset, for they do not say by which
extra.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

EXTRAS = {
    "gateway": ("gateway", "tracing"),
    "workers": ("workers", "analysis", "tracing"),
    "workers-gpu": ("workers", "analysis", "tracing"),
    "build": (),
}
"""Extras of pyproject.toml by image; the project's own dependencies belong to each but `build`,
which is what builds the project's own wheel."""

# Comes with vLLM's image, whose CUDA build of torch is the one that its engines have.
_THERE = {"workers-gpu": frozenset({"torch"})}
# By extras of FastAPI and uvicorn that vLLM asks for and the gateway does not use.
_NOT_USED = frozenset(
    {"email-validator", "fastapi-cli", "fastar", "pydantic-extra-types", "watchfiles", "websockets"}
)


def entries(lock: str) -> dict[str, str]:
    """A locked package's name -> its part of the lock, hashes and comments included."""
    parts = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    return {re.split(r"[=\[ ]", part, maxsplit=1)[0]: part for part in parts[1:]}


def requirers(entry: str) -> set[str]:
    """Who requires it, by the comments of its part."""
    comment = entry[entry.find("    # via") :] if "    # via" in entry else ""
    names = re.findall(r"^    #(?: via|  )\s+([A-Za-z0-9._-]+)", comment, re.MULTILINE)
    return {name.lower() for name in names}


def needed(image: str, lock: str, project: str) -> list[str]:
    """Names of the locked packages that the image needs, in the lock's order.

    Args:
        image: a key of `EXTRAS`.
        lock: text of the lock.
        project: text of pyproject.toml.
    """
    document = tomllib.loads(project)
    table = document["project"]
    wanted = list(table["dependencies"])
    for extra in EXTRAS[image]:
        wanted += table["optional-dependencies"][extra]
    if image == "build":
        wanted = document["build-system"]["requires"]
    roots = {_normal(re.match(r"[A-Za-z0-9._-]+", text)[0]) for text in wanted}  # type: ignore[index]
    known = entries(lock)
    found = {name for name in known if _normal(name) in roots}
    while True:
        more = {
            name
            for name, entry in known.items()
            if name not in found and name not in _NOT_USED and requirers(entry) & found
        }
        if not more:
            return [name for name in known if name in found - _THERE.get(image, frozenset())]
        found |= more


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Print the requirements of the image that is named."""
    if len(sys.argv) != 2 or sys.argv[1] not in EXTRAS:
        print(f"usage: image_requirements.py {'|'.join(EXTRAS)}", file=sys.stderr)
        return 2
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    known = entries(lock)
    for name in needed(sys.argv[1], lock, (ROOT / "pyproject.toml").read_text()):
        print(known[name].rstrip("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
