"""What a lock has beside requirements/lock.txt, to standard output.

    python scripts/beside_lock.py build/charts.txt > requirements/charts.txt

The rest is in the environment already, in the same versions: the lock's pins were constraints.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements" / "lock.txt"


def parts(lock: str) -> list[str]:
    """Its head, and the lines of each package."""
    return re.split(r"(?m)^(?=[A-Za-z0-9])", lock)


def main(lock: str) -> None:
    """Print the head of `lock`, and each of its packages that the other has not."""
    there = {part.partition("==")[0] for part in parts(LOCK.read_text())[1:]}
    head, *packages = parts(Path(lock).read_text())
    print(head, *(p for p in packages if p.partition("==")[0] not in there), sep="", end="")


if __name__ == "__main__":
    main(sys.argv[1])
