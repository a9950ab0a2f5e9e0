"""What is ready, part by part, and why not."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.gateway.resources import Resources
from tunesmith.platform import bases, heartbeats
from tunesmith.platform.domain.errors import TunesmithError

from .schemas import Part

_MARK = "health/readiness"


def check_database(parts: Resources) -> Part:
    """It answers."""
    return _unless_error(parts.database.ping)


def check_storage(parts: Resources) -> Part:
    """It takes an object, and gives it back."""

    def write_and_read() -> None:
        parts.storage.put(_MARK, b"ready")
        parts.storage.get(_MARK)

    return _unless_error(write_and_read)


def check_engines(parts: Resources) -> Part:
    """Every base that is known has an engine that is up."""
    if not parts.engines.engines:
        return Part(ready=False, reason="No engine is configured (TUNESMITH_ENGINES).")
    down = [engine for engine in parts.engines.engines if not engine.is_up]
    try:
        with parts.database.reading() as session:
            names = [base.name for base in bases.list_bases(session)]
    except TunesmithError as error:
        return Part(ready=False, reason=error.message)
    if not names:
        return Part(ready=False, reason="No base is registered yet.")
    unserved = [name for name in names if not parts.engines.serving(name)]
    if not unserved:
        return Part(ready=True)
    reasons = "; ".join(f"{engine.url}: {engine.reason}" for engine in down)
    return Part(ready=False, reason=f"No engine serves {', '.join(unserved)}. {reasons}".strip())


def check_dispatcher(parts: Resources) -> Part:
    """It gave a sign of life within the time after which its jobs are taken from it."""
    allowed = parts.settings.lease_seconds
    try:
        with parts.database.reading() as session:
            silence = heartbeats.age(session, "dispatcher")
    except TunesmithError as error:
        return Part(ready=False, reason=error.message)
    if silence is None:
        return Part(ready=False, reason="It never gave a sign of life; queued jobs wait for it.")
    if silence > allowed:
        return Part(
            ready=False,
            reason=f"It gave no sign of life for {silence:.0f} s; queued jobs wait for it.",
        )
    return Part(ready=True)


CHECKS: dict[str, Callable[[Resources], Part]] = {
    "database": check_database,
    "storage": check_storage,
    "engines": check_engines,
    "dispatcher": check_dispatcher,
}


def _unless_error(check: Callable[[], None]) -> Part:
    try:
        check()
    except TunesmithError as error:
        return Part(ready=False, reason=error.message)
    return Part(ready=True)
