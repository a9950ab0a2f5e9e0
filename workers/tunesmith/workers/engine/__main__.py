"""`python -m tunesmith.workers.engine`: become vLLM's server for the base of the settings."""

from __future__ import annotations

import os
import sys

from tunesmith.platform import bases
from tunesmith.platform.database import Database
from tunesmith.platform.settings import Settings
from tunesmith.workers.bases import default_name
from tunesmith.workers.engine.command import engine_command, engine_environment


def main() -> None:
    """Find the base in the database and exec vLLM."""
    settings = Settings()
    name = settings.base_name or default_name(settings.base)
    database = Database(settings.database_url)
    with database.reading() as session:
        base = bases.find_base(session, name)
    database.dispose()
    if base is None:
        sys.exit(f"The base {name!r} is not in the database; register it first.")
    on_gpu = settings.device == "cuda" or (settings.device == "auto" and _has_gpu())
    command = engine_command(settings, base, on_gpu=on_gpu)
    os.execve(command[0], command, engine_environment(settings, os.environ, on_gpu=on_gpu))  # noqa: S606


def _has_gpu() -> bool:
    # Importing torch for this answer would cost seconds of the engine's start.
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/kfd")


if __name__ == "__main__":
    main()
