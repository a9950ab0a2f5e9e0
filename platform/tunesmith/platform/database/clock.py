"""The database's clock: leases are compared by one clock, whatever the machines' clocks say."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

_NOW = {
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": text("SELECT extract(epoch FROM clock_timestamp())::float8"),
}


def now(session: Session) -> float:
    """Seconds since the epoch, by the database's clock."""
    return float(session.execute(_NOW[session.get_bind().dialect.name]).scalar_one())
