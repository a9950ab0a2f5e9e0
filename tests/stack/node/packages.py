"""Which installed packages an image of ours would have: what its extras require, and no other.

The tests' environment holds all extras at once. A process in a container must see only those of
its image, or a missing requirement would never be noticed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(roots: Iterable[str]) -> set[str]:
    """Names of the distributions that `roots` (`name` or `name[extra]`) need, themselves included.

    A requirement that is not installed is passed over: the lock leaves some out on purpose.
    """
    needed: dict[str, set[str]] = defaultdict(set)
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        name, extras = canonical(requirement.name), set(requirement.extras)
        if name in needed and extras <= needed[name]:
            continue
        needed[name] |= extras
        try:
            found = distribution(name)
        except PackageNotFoundError:
            del needed[name]
            continue
        for text in found.requires or ():
            further = Requirement(text)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *needed[name])):
                waiting.append(further)
    return set(needed)


@cache
def _owners() -> dict[str, frozenset[str]]:
    """For every entry of site-packages, the distributions that put files there."""
    owners: dict[str, set[str]] = defaultdict(set)
    for found in distributions():
        for entry in _entries(found):
            owners[entry].add(canonical(found.metadata["Name"]))
    return {entry: frozenset(names) for entry, names in owners.items()}


def _entries(found: Distribution) -> set[str]:
    tops = {Path(file).parts[0] for file in found.files or ()}
    return {top for top in tops if top not in ("..", "/", "__pycache__")}


def hidden_entries(kept: set[str]) -> set[str]:
    """Entries of site-packages that belong to none of the distributions in `kept`."""
    return {entry for entry, owners in _owners().items() if not owners & kept}


def entries_of(names: Iterable[str]) -> set[str]:
    """Entries of site-packages that these distributions, and no others, put there."""
    wanted = {canonical(name) for name in names}
    return {entry for entry, owners in _owners().items() if owners <= wanted}


def site_packages() -> Path:
    """Where this environment's packages lie."""
    return Path(str(distribution("pip").locate_file("")))
