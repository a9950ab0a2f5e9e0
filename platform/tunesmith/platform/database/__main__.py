"""`python -m tunesmith.platform.database`: the same as `tunesmith migrate`."""

from __future__ import annotations

import sys

from tunesmith.platform.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "migrate")
    main()
