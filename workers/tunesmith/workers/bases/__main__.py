"""`python -m tunesmith.workers.bases`: write the base of the settings into the database."""

from __future__ import annotations

import json
import sys
import threading

from tunesmith.platform import bases
from tunesmith.platform.database import Database, wait_for_schema
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings
from tunesmith.workers.bases import BaseNotUsable, resolve_base


def main() -> int:
    """Register the base; what it is goes to standard output as JSON."""
    settings = Settings()
    configure_logs(settings, process="bases")
    try:
        base = resolve_base(
            settings.base,
            name=settings.base_name,
            cache=settings.home / "cache" / "base-digests.json",
        )
        context_length = min(base.context_length, settings.engine_max_model_len or sys.maxsize)
        database = Database(settings.database_url)
        wait_for_schema(database, settings, threading.Event())
        with database.transaction() as session:
            bases.register_base(
                session,
                name=base.name,
                source=str(base.directory),
                digest=base.digest,
                context_length=context_length,
                max_rank=settings.engine_max_lora_rank,
                config=base.config,
            )
        database.dispose()
    except (BaseNotUsable, TunesmithError) as error:
        print(error, file=sys.stderr)
        return 1
    print(
        json.dumps(
            {
                "name": base.name,
                "directory": str(base.directory),
                "digest": base.digest,
                "context_length": context_length,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
