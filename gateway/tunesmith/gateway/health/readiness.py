"""What is ready, part by part, and why not."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.gateway.resources import Resources
from tunesmith.platform import heartbeats
from tunesmith.platform.domain.errors import TunesmithError

from .schemas import Part

_MARK = "health/readiness"


def check_gateway(_: Resources) -> Part:
    """It serves: one that starts or drains does not come as far as here (`Lifecycle`)."""
    return Part(ready=True)


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
    """Every base that an engine has served since this process started has one that is up.

    A base that is registered and that no engine was ever seen to serve, one of an earlier
    installation say, does not count: it must not keep the others' gateway from being ready.
    """
    engines = parts.engines.engines
    if not engines:
        return Part(ready=False, reason="No engine is configured (TUNESMITH_ENGINES).")
    seen = set[str]().union(*(engine.bases for engine in engines))
    unserved = sorted(base for base in seen if not parts.engines.serving(base))
    if seen and not unserved:
        return Part(ready=True)
    reasons = "; ".join(f"{engine.url}: {engine.reason}" for engine in engines if not engine.is_up)
    what = f"No engine serves {', '.join(unserved)}." if seen else "No engine is up yet."
    return Part(ready=False, reason=f"{what} {reasons}".strip())


def check_dispatcher(parts: Resources) -> Part:
    """It gave a sign of life within the time after which its jobs are taken from it."""
    return _alive(parts, "dispatcher", "queued jobs wait for it")


def check_evaluator(parts: Resources) -> Part:
    """It gave a sign of life within the time after which its work is taken from it."""
    return _alive(parts, "evaluator", "evaluations and data reports wait for it")


CHECKS: dict[str, Callable[[Resources], Part]] = {
    "gateway": check_gateway,
    "database": check_database,
    "storage": check_storage,
    "engines": check_engines,
    "dispatcher": check_dispatcher,
    "evaluator": check_evaluator,
}


def _alive(parts: Resources, name: str, what_waits: str) -> Part:
    try:
        with parts.database.reading() as session:
            silence = heartbeats.age(session, name)
    except TunesmithError as error:
        return Part(ready=False, reason=error.message)
    if silence is None:
        return Part(ready=False, reason=f"It never gave a sign of life; {what_waits}.")
    if silence > parts.settings.lease_seconds:
        return Part(
            ready=False,
            reason=f"It gave no sign of life for {silence:.0f} s; {what_waits}.",
        )
    return Part(ready=True)


def _unless_error(check: Callable[[], None]) -> Part:
    try:
        check()
    except TunesmithError as error:
        return Part(ready=False, reason=error.message)
    return Part(ready=True)
